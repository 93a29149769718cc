"""Every error of errors.py has an answer."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from claude_syncd import errors
from claude_syncd.control.failures import Stopping, body_of, code_of, internal


def kinds(base: type[errors.SyncError]) -> list[type[errors.SyncError]]:
    return [base, *(kind for below in base.__subclasses__() for kind in kinds(below))]


EXPECTED = {
    errors.UsageError: HTTPStatus.BAD_REQUEST,
    errors.NotSetUp: HTTPStatus.CONFLICT,
    errors.Held: HTTPStatus.CONFLICT,
    errors.AlreadyRunning: HTTPStatus.CONFLICT,
    errors.Changed: HTTPStatus.CONFLICT,
    Stopping: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StoreError: HTTPStatus.BAD_GATEWAY,
    errors.StoreRefused: HTTPStatus.BAD_GATEWAY,
    errors.NoSuchPlace: HTTPStatus.BAD_GATEWAY,
    errors.ObjectMissing: HTTPStatus.BAD_GATEWAY,
    errors.AlreadyExists: HTTPStatus.BAD_GATEWAY,
    errors.VaultError: HTTPStatus.BAD_GATEWAY,
    errors.IntegrityError: HTTPStatus.BAD_GATEWAY,
    errors.FormatError: HTTPStatus.BAD_GATEWAY,
    errors.WrongKey: HTTPStatus.BAD_GATEWAY,
    # What only this device can mend.
    errors.SyncError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.NoDaemon: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ConfigError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.StateBroken: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.LocalError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def test_every_kind_of_error_has_its_code() -> None:
    tree = {kind for kind in kinds(errors.SyncError) if kind.__module__ == errors.__name__}
    assert tree | {Stopping} == set(EXPECTED)
    assert {kind: code_of(kind("x")) for kind in EXPECTED} == EXPECTED


def test_a_kind_that_is_made_elsewhere_answers_as_the_one_that_it_is() -> None:
    class Throttled(errors.StoreUnavailable):
        pass

    assert code_of(Throttled("x")) is HTTPStatus.SERVICE_UNAVAILABLE


@pytest.mark.parametrize("kind", EXPECTED)
def test_the_body_says_what_happened_what_to_do_and_how_a_command_ends(kind: type[errors.SyncError]) -> None:
    body = body_of(kind("it happened"))
    assert (body.error, body.hint, body.exit_code) == ("it happened", kind.default_hint, kind.exit_code)
    assert body_of(kind("it happened", hint="do this")).hint == "do this"


def test_of_a_defect_only_its_kind_is_told() -> None:
    told = internal(KeyError("/home/ann/.claude/projects/secret"))
    assert str(told) == "internal error: KeyError"
    assert "secret" not in told.hint
    assert code_of(told) is HTTPStatus.INTERNAL_SERVER_ERROR
