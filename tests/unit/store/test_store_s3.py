"""The store on S3, against answers word for word: what each means, and what is sent."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from answers import Answer, AnswerServer, s3_error

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.base import MAX_OBJECT, ObjectInfo, Span
from claude_syncd.store.count import Counting
from claude_syncd.store.options import S3Options
from claude_syncd.store.s3 import S3Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ACCEPTED = Answer(200, headers={"ETag": '"0"'})
XML = {"Content-Type": "application/xml"}


@pytest.fixture
async def server() -> AsyncIterator[AnswerServer]:
    async with AnswerServer() as made:
        yield made


@pytest.fixture
def options(server: AnswerServer) -> S3Options:
    return S3Options(
        "bucket", prefix="p", endpoint=server.endpoint, access_key_id="key-id", secret_access_key="secret-key"
    )


@pytest.fixture
async def store(options: S3Options) -> AsyncIterator[S3Store]:
    made = S3Store(options)
    yield made
    await made.close()


def page(*names: str, more: str = "", token: str = "") -> Answer:
    entries = "".join(f"<Contents><Key>{name}</Key><Size>3</Size></Contents>" for name in names)
    truncated = f"<IsTruncated>{more or 'false'}</IsTruncated>"
    following = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return Answer(200, f"<ListBucketResult>{truncated}{following}{entries}</ListBucketResult>".encode(), XML)


@pytest.mark.parametrize(
    ("answer", "kind", "word"),
    [
        (s3_error(404, "NoSuchKey"), ObjectMissing, "no such object"),
        (s3_error(404, "NoSuchBucket"), StoreRefused, "bucket"),
        (s3_error(404, "NoSuchSite"), StoreRefused, "endpoint"),
        (Answer(404, b"<html>Not Found</html>", {"Content-Type": "text/html"}), StoreRefused, "endpoint"),
        (Answer(404), StoreRefused, "endpoint"),
        (s3_error(403, "InvalidAccessKeyId"), StoreRefused, "access_key_id"),
        (s3_error(403, "SignatureDoesNotMatch"), StoreRefused, "secret_access_key"),
        (s3_error(403, "RequestTimeTooSkewed"), StoreRefused, "clock"),
        (s3_error(403, "AccessDenied"), StoreRefused, "ListBucket"),
        (s3_error(403, "InvalidObjectState"), StoreRefused, "archive"),
        (s3_error(403, "SomethingNew"), StoreRefused, "SomethingNew"),
        (s3_error(401, "Unauthorized"), StoreRefused, "credentials"),
        (s3_error(400, "ExpiredToken"), StoreRefused, "sign in again"),
        (s3_error(400, "AuthorizationHeaderMalformed"), StoreRefused, "region"),
        (s3_error(400, "InvalidArgument"), StoreRefused, "InvalidArgument"),
        (s3_error(400, "RequestTimeout"), StoreUnavailable, "too slow"),
        (s3_error(400, "BadDigest"), StoreUnavailable, "damaged"),
        (s3_error(409, "ConditionalRequestConflict"), StoreUnavailable, "another writer"),
        (s3_error(409, "OperationAborted"), StoreUnavailable, "another operation"),
        (s3_error(412, "PreconditionFailed"), AlreadyExists, "exists already"),
        (s3_error(429, "TooManyRequests"), StoreUnavailable, "too many requests"),
        (s3_error(500, "InternalError"), StoreUnavailable, "InternalError"),
        (s3_error(501, "NotImplemented"), StoreRefused, "NotImplemented"),
        (Answer(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"}), StoreUnavailable, "502"),
        (s3_error(503, "SlowDown"), StoreUnavailable, "too many requests"),
        (Answer(507), StoreUnavailable, "507"),
    ],
)
async def test_an_error_says_what_happened_and_what_to_do(
    store: S3Store, server: AnswerServer, answer: Answer, kind: type[StoreError], word: str
) -> None:
    server.answers.append(answer)
    with pytest.raises(StoreError) as raised:
        await store.put("vault.json", b"data")
    # How it was refused, or that a server is out of order, may be a kind of its own.
    assert type(raised.value) is kind or (kind in {StoreRefused, StoreUnavailable} and isinstance(raised.value, kind))
    said = f"{raised.value} {raised.value.hint}"
    assert word in said
    assert "s3://bucket/p/vault.json" in said
    assert "secret-key" not in said
    assert len(server.requests) == 1


async def test_the_servers_wait_is_passed_on(store: S3Store, server: AnswerServer) -> None:
    for header, expected in (("7", 7.0), ("99999999", 3600.0), ("soon", None), ("-1", None)):
        server.answers.clear()
        server.answers.append(s3_error(503, "SlowDown", {"Retry-After": header}))
        with pytest.raises(StoreUnavailable) as raised:
            await store.get("vault.json")
        assert raised.value.retry_after == expected


@pytest.mark.parametrize("answer", [s3_error(501, "NotImplemented"), Answer(501)])
async def test_a_server_without_conditions_gets_none_from_then_on(
    store: S3Store, server: AnswerServer, answer: Answer
) -> None:
    counting = Counting(store)
    server.answers.extend([answer, ACCEPTED])
    await counting.put("roster/000001", b"one", if_absent=True)
    await counting.put("roster/000002", b"two", if_absent=True)
    assert [request.headers.get("if-none-match") for request in server.requests] == ["*", None, None]
    assert counting.snapshot().put == 3
    assert counting.snapshot().bytes_up == 9


async def test_deleting_what_a_server_calls_missing_is_no_error(store: S3Store, server: AnswerServer) -> None:
    server.answers.append(s3_error(404, "NoSuchKey"))
    await store.delete("vault.json")
    server.answers.append(s3_error(404, "NoSuchBucket"))
    server.answers.popleft()
    with pytest.raises(StoreRefused):
        await store.delete("vault.json")


async def test_a_delete_that_fails_because_nothing_is_there_is_done(server: AnswerServer, store: S3Store) -> None:
    server.answers.extend([s3_error(500, "InternalError"), s3_error(404, "NoSuchKey")])
    await store.delete("vault.json")
    assert [(request.method, request.headers.get("range")) for request in server.requests] == [
        ("DELETE", None),
        ("GET", "bytes=0-0"),
    ]


@pytest.mark.parametrize(
    "found", [Answer(200, b"x", {"Content-Range": "bytes 0-0/9"}), s3_error(416, "InvalidRange"), s3_error(500, "Oh")]
)
async def test_a_delete_that_fails_is_not_done_while_something_may_be_there(
    server: AnswerServer, store: S3Store, found: Answer
) -> None:
    server.answers.extend([s3_error(500, "InternalError"), found])
    with pytest.raises(StoreUnavailable, match="problem"):
        await store.delete("vault.json")


async def test_a_delete_that_is_refused_is_asked_once(server: AnswerServer, store: S3Store) -> None:
    for error in (s3_error(403, "AccessDenied"), s3_error(503, "SlowDown")):
        server.answers.clear()
        server.answers.append(error)
        with pytest.raises(StoreError):
            await store.delete("vault.json")
    assert [request.method for request in server.requests] == ["DELETE", "DELETE"]


async def test_a_server_that_ignores_ranges_is_borne(store: S3Store, server: AnswerServer) -> None:
    server.answers.append(Answer(200, b"0123456789"))
    assert await store.get("packs/x", Span(2, 3)) == b"234"
    assert await store.get("packs/x", Span(-3, 3)) == b"789"
    assert await store.get("packs/x", Span(20, 3)) == b""
    assert [request.headers["range"] for request in server.requests] == ["bytes=2-4", "bytes=-3", "bytes=20-22"]


async def test_more_than_was_asked_for_is_cut(store: S3Store, server: AnswerServer) -> None:
    server.answers.append(Answer(206, b"0123456789"))
    assert await store.get("packs/x", Span(0, 4)) == b"0123"


TEN = b"0123456789"


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize(
    ("span", "said", "sent", "expected"),
    [
        (Span(2, 3), "bytes 2-4/10", b"234", b"234"),
        (Span(-3, 3), "bytes 7-9/10", b"789", b"789"),
        (Span(-3, 2), "bytes 7-9/10", b"789", b"78"),
        (Span(8, 5), "bytes 8-9/10", b"89", b"89"),
        (Span(-20, 20), "bytes 0-9/10", TEN, TEN),
        # More than was asked for, and the header says so: all of it, or from an earlier byte on.
        (Span(2, 3), "bytes 0-9/10", TEN, b"234"),
        (Span(-3, 3), "bytes 0-9/10", TEN, b"789"),
        (Span(4, 2), "bytes 2-9/10", TEN[2:], b"45"),
        # A size that the server does not tell; what was asked for is what came.
        (Span(2, 3), "bytes 2-4/*", b"234", b"234"),
        # Nonsense: then it is what was asked for.
        (Span(2, 3), "2-4", b"234", b"234"),
    ],
)
async def test_a_part_is_a_part_whatever_the_status(
    store: S3Store, server: AnswerServer, status: int, span: Span, said: str, sent: bytes, expected: bytes
) -> None:
    server.answers.append(Answer(status, sent, {"Content-Range": said}))
    assert await store.get("packs/x", span) == expected


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize("said", ["bytes 5-7/10", "bytes 3-5/*"])
async def test_another_part_than_the_one_asked_for_is_no_answer(
    store: S3Store, server: AnswerServer, status: int, said: str
) -> None:
    server.answers.append(Answer(status, b"567", {"Content-Range": said}))
    with pytest.raises(StoreUnavailable, match="another part"):
        await store.get("packs/x", Span(2, 3))


async def test_an_object_larger_than_any_is_not_read(store: S3Store, server: AnswerServer) -> None:
    server.answers.append(Answer(200, bytes(MAX_OBJECT + 1)))
    with pytest.raises(StoreRefused, match="larger"):
        await store.get("packs/x")


async def test_pages_of_a_listing_are_put_together_and_counted(store: S3Store, server: AnswerServer) -> None:
    counting = Counting(store)
    server.answers.extend([page("p/r/2", "p/r/1", more="true", token="next page"), page("p/r/0", "p/q", "x/r/3")])
    assert list(await counting.list("r/")) == [ObjectInfo(f"r/{n}", 3) for n in range(3)]
    assert counting.snapshot().list == 2
    assert "prefix=p%2Fr%2F" in server.requests[0].path
    assert "continuation-token=next" in server.requests[1].path


@pytest.mark.parametrize(
    "answers",
    [
        [page("p/r/1", more="true")],
        [page("p/r/1", more="true", token="same")],
        [page("p/r/1", more="true", token="next"), s3_error(500, "InternalError")],
        [page("p/r/1", more="true", token="next"), s3_error(503, "SlowDown")],
        [Answer(200, b"<html><body>Welcome to the hotel's network", {"Content-Type": "text/html"})],
    ],
)
async def test_a_listing_is_whole_or_an_error(store: S3Store, server: AnswerServer, answers: list[Answer]) -> None:
    server.answers.extend(answers)
    with pytest.raises(StoreUnavailable):
        await store.list("r/")


async def test_the_first_calls_at_once_make_one_client(store: S3Store, server: AnswerServer) -> None:
    server.answers.append(Answer(200, b"data"))
    found = await asyncio.gather(*(store.get("vault.json") for _ in range(6)))
    assert found == [b"data"] * 6
    assert len(server.requests) == 6


async def test_keys_and_token_are_used(options: S3Options, server: AnswerServer) -> None:
    server.answers.append(Answer(200, b"data"))
    store = S3Store(replace(options, session_token="a-token", region="eu-north-1"))
    await store.get("vault.json")
    await store.close()
    headers = server.requests[0].headers
    assert "Credential=key-id/" in headers["authorization"]
    assert "/eu-north-1/s3/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "a-token"
    assert server.requests[0].path == "/bucket/p/vault.json"


async def test_a_profile_is_used(
    options: S3Options, server: AnswerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("[work]\naws_access_key_id = work-key\naws_secret_access_key = work-secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    server.answers.append(Answer(200, b"data"))
    store = S3Store(replace(options, access_key_id=None, secret_access_key=None, profile="work"))
    await store.get("vault.json")
    await store.close()
    assert "Credential=work-key/" in server.requests[0].headers["authorization"]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (S3Options("bucket"), "there are no credentials"),
        (S3Options("bucket", profile="nobody"), "no such profile"),
        (S3Options("bucket", endpoint="no url"), "settings can't work"),
    ],
)
async def test_settings_that_cannot_work_are_refused(
    server: AnswerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: S3Options, word: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = S3Store(replace(wrong, endpoint=wrong.endpoint or server.endpoint))
    try:
        for _ in range(2):  # a failure to connect is no lasting state
            with pytest.raises(StoreRefused, match=word):
                await store.get("vault.json")
    finally:
        await store.close()
    assert server.requests == []


async def test_a_large_object_arrives_and_is_not_awaited_for_permission(store: S3Store, server: AnswerServer) -> None:
    server.answers.append(ACCEPTED)
    data = bytes(range(256)) * 20_000
    await store.put("packs/x", data)
    assert server.requests[0].body == data
    assert "expect" not in server.requests[0].headers
    assert server.requests[0].headers["x-amz-content-sha256"] == hashlib.sha256(data).hexdigest()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that nobody else trusts, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to make a certificate")
    made = tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(made)]
    subprocess.run([*command, *subject, *files], check=True, capture_output=True)
    made.write_text(made.read_text() + (tmp_path / "key.pem").read_text())
    return made


async def test_over_tls_a_digest_goes_along(options: S3Options, certificate: Path) -> None:
    async with AnswerServer(certificate) as server:
        server.answers.append(ACCEPTED)
        store = S3Store(replace(options, endpoint=server.endpoint, ca_bundle=certificate))
        for data in (b"small", bytes(2_000_000)):
            await store.put("packs/x", data)
            sent = server.requests[-1]
            assert sent.body == data
            digest = hashlib.md5(data, usedforsecurity=False).digest()
            assert sent.headers["content-md5"] == base64.b64encode(digest).decode()
            assert sent.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
        await store.close()


async def test_a_certificate_that_is_not_trusted_stops_everything(options: S3Options, certificate: Path) -> None:
    async with AnswerServer(certificate) as server:
        store = S3Store(replace(options, endpoint=server.endpoint))
        with pytest.raises(StoreUnavailable, match="certificate is not trusted") as raised:
            await store.put("vault.json", b"data")
        await store.close()
        assert "ca_bundle" in raised.value.hint
        assert server.requests == []


async def test_the_last_bytes_of_an_object_that_has_fewer(server: AnswerServer, store: S3Store) -> None:
    """Some servers take so many last bytes for a range beyond the object's end."""
    server.answers.extend([s3_error(416, "InvalidRange"), Answer(200, b"short")])
    assert await store.get("packs/a", Span(-99, 99)) == b"short"
    server.answers.clear()
    server.answers.append(s3_error(416, "InvalidRange"))
    assert await store.get("packs/a", Span(99, 5)) == b""
