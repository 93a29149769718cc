"""How the store on Google Cloud Storage gets its credentials and tokens, and what it says where it can't."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import jwt
import pytest
from answers import Answer, AnswerServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gcloud.aio.auth import token as library
from s3_server import free_port

from claude_syncd.errors import StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.count import Counting
from claude_syncd.store.gcs import GcsStore
from claude_syncd.store.options import GcsOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DATA = Answer(200, b"data")
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def server() -> AsyncIterator[AnswerServer]:
    async with AnswerServer() as made:
        yield made


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(autouse=True)
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine is found."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setattr(library, "GCE_ENDPOINT_TOKEN", f"http://127.0.0.1:{free_port()}/token")


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def token(value: str, expires_in: int = 3600) -> Answer:
    body = {"access_token": value, "expires_in": expires_in, "token_type": "Bearer"}
    return Answer(200, json.dumps(body).encode(), JSON)


def token_error(status: int, error: str, description: str = "") -> Answer:
    return Answer(status, json.dumps({"error": error, "error_description": f"secret-key {description}"}).encode(), JSON)


def service_account(server: AnswerServer, key: rsa.RSAPrivateKey) -> dict[str, Any]:
    return {
        "type": "service_account",
        "client_email": "ann@project.iam.gserviceaccount.com",
        "private_key": pem(key),
        "private_key_id": "1",
        "token_uri": f"{server.endpoint}/token",
    }


@pytest.fixture
def file(server: AnswerServer, key: rsa.RSAPrivateKey, tmp_path: Path) -> Path:
    made = tmp_path / "key.json"
    made.write_text(json.dumps(service_account(server, key)))
    return made


@pytest.fixture
async def store(server: AnswerServer, file: Path) -> AsyncIterator[GcsStore]:
    made = GcsStore(GcsOptions("bucket", credentials_file=file), google=server.endpoint)
    yield made
    await made.close()


async def refusal(options: GcsOptions, server: AnswerServer) -> StoreRefused:
    store = GcsStore(options, google=server.endpoint)
    try:
        with pytest.raises(StoreRefused) as raised:
            await store.get("vault.json")
    finally:
        await store.close()
    return raised.value


async def test_a_service_account_signs_for_a_token(
    store: GcsStore, server: AnswerServer, key: rsa.RSAPrivateKey
) -> None:
    counting = Counting(store)
    server.answers.extend([token("first"), DATA])
    for _ in range(3):
        assert await counting.get("vault.json") == b"data"
    bought, *used = server.requests
    assert (bought.method, bought.path) == ("POST", "/token")
    (assertion,) = parse_qs(bought.body.decode())["assertion"]
    signed = jwt.decode(assertion, key.public_key(), algorithms=["RS256"], audience=f"{server.endpoint}/token")
    assert signed["iss"] == "ann@project.iam.gserviceaccount.com"
    assert signed["scope"].endswith("/devstorage.read_write")
    assert [request.headers["authorization"] for request in used] == ["Bearer first"] * 3
    assert counting.snapshot().get == 3


async def test_a_token_is_replaced_before_it_expires(
    store: GcsStore, server: AnswerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers.extend([token("first", 1000), DATA, DATA, token("second", 1000), DATA])
    await store.get("vault.json")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 880)
    await store.get("vault.json")
    monkeypatch.setattr(time, "time", lambda: now + 905)
    await store.get("vault.json")
    used = [request.headers.get("authorization") for request in server.requests]
    assert used == [None, "Bearer first", "Bearer first", None, "Bearer second"]


async def test_a_token_that_was_withdrawn_is_replaced_once(store: GcsStore, server: AnswerServer) -> None:
    denied = Answer(401, b"Invalid Credentials")
    server.answers.extend([token("first"), DATA, denied, token("second"), DATA, denied, token("third"), denied])
    for _ in range(2):
        assert await store.get("vault.json") == b"data"
    with pytest.raises(StoreRefused, match="credentials were not accepted"):
        await store.get("vault.json")
    used = [request.headers.get("authorization", "token") for request in server.requests]
    assert used == [
        *("token", "Bearer first", "Bearer first", "token", "Bearer second"),
        *("Bearer second", "token", "Bearer third"),
    ]


async def test_one_token_is_bought_for_all_who_wait(store: GcsStore, server: AnswerServer) -> None:
    server.answers.extend([token("first"), DATA])
    assert await asyncio.gather(*(store.get("vault.json") for _ in range(8))) == [b"data"] * 8
    assert [request.path for request in server.requests].count("/token") == 1


async def test_who_is_cancelled_while_buying_takes_nobody_along(store: GcsStore, server: AnswerServer) -> None:
    buying, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        buying.set()
        await go_on.wait()

    server.answers.extend([token("lost"), token("first"), DATA])
    server.before_answer = slow
    first = asyncio.create_task(store.get("vault.json"))
    await buying.wait()
    others = [asyncio.create_task(store.get("vault.json")) for _ in range(3)]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go_on.set()
    assert await asyncio.gather(*others) == [b"data"] * 3


@pytest.mark.parametrize(
    ("answer", "kind", "word"),
    [
        (token_error(400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a"
                     " reasonable timeframe. Check your iat and exp values in the JWT claim."), StoreRefused, "clock"),
        (token_error(400, "invalid_grant", "Invalid JWT Signature."), StoreRefused, "credentials_file"),
        (token_error(400, "invalid_grant", "Invalid grant: account not found"), StoreRefused, "service account"),
        (token_error(400, "invalid_grant", "Token has been expired or revoked."), StoreRefused, "gcloud auth"),
        (token_error(401, "invalid_client", "The OAuth client was disabled."), StoreRefused, "disabled"),
        (token_error(401, "invalid_client"), StoreRefused, "not accepted"),
        (token_error(429, "slow_down"), StoreUnavailable, "429"),
        (token_error(503, "backend_error"), StoreUnavailable, "503"),
        (Answer(200, b"<html>Welcome", {"Content-Type": "text/html"}), StoreUnavailable, "not one of Google's"),
        (Answer(200, b"{}", JSON), StoreUnavailable, "not one of Google's"),
        (Answer(200, b"{", JSON), StoreUnavailable, "not one of Google's"),
        (Answer(302, headers={"Location": "http://127.0.0.1:9/"}), StoreUnavailable, "elsewhere"),
    ],
)  # fmt: skip
async def test_why_there_is_no_token(
    store: GcsStore, server: AnswerServer, answer: Answer, kind: type[StoreError], word: str
) -> None:
    counting = Counting(store)
    server.answers.append(answer)
    with pytest.raises(StoreError) as raised:
        await counting.get("vault.json")
    assert type(raised.value) is kind
    assert word in f"{raised.value} {raised.value.hint}"
    shown = "".join(traceback.format_exception(raised.value))
    assert "secret-key" not in f"{raised.value} {raised.value.hint} {shown}"
    assert len(server.requests) == 1  # the library would try five times
    assert counting.snapshot().get == 0


async def test_a_user_signs_in_by_a_refresh_token(server: AnswerServer, tmp_path: Path) -> None:
    well_known = tmp_path / "gcloud" / "application_default_credentials.json"
    well_known.parent.mkdir()
    user = {"type": "authorized_user", "client_id": "id", "client_secret": "hush", "refresh_token": "quiet"}
    well_known.write_text(json.dumps({**user, "token_uri": f"{server.endpoint}/token"}))
    server.answers.extend([token("first"), DATA])
    store = GcsStore(GcsOptions("bucket"), google=server.endpoint)
    assert await store.get("vault.json") == b"data"
    await store.close()
    assert parse_qs(server.requests[0].body.decode())["refresh_token"] == ["quiet"]


async def test_the_environment_names_a_file(server: AnswerServer, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    server.answers.extend([token("first"), DATA])
    store = GcsStore(GcsOptions("bucket"), google=server.endpoint)
    assert await store.get("vault.json") == b"data"
    await store.close()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", f"{file}.missing")
    assert "there is no credentials file" in str(await refusal(GcsOptions("bucket"), server))


async def test_without_a_file_the_machine_itself_is_asked(
    server: AnswerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = await refusal(GcsOptions("bucket"), server)
    assert "there are no credentials" in str(error)
    assert "gcloud auth application-default login" in error.hint
    assert server.requests == []
    monkeypatch.setattr(library, "GCE_ENDPOINT_TOKEN", f"{server.endpoint}/machine")
    server.answers.extend([token("first"), DATA])
    store = GcsStore(GcsOptions("bucket"), google=server.endpoint)
    assert await store.get("vault.json") == b"data"
    await store.close()
    assert server.requests[0].headers["metadata-flavor"] == "Google"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "there is no credentials file"),
        ("folder", "can't be read"),
        (b"hush hush", "not a credentials file"),
        (b"\xff\xfe", "not a credentials file"),
        (b"[]", "not a credentials file"),
        (b'{"installed": {"client_secret": "hush"}}', "not a credentials file"),
        (b'{"type": "gdch_service_account", "private_key": "hush"}', "not a credentials file"),
        (b'{"type": "service_account", "private_key": "hush"}', "not a credentials file"),
        (b'{"type": "service_account", "client_email": "a", "private_key": "hush"}', "private key in"),
        (b'{"type": "authorized_user", "client_id": "id", "client_secret": "hush"}', "not a credentials file"),
        (b" " * 300_000, "not a credentials file"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(
    server: AnswerServer, tmp_path: Path, content: bytes | str | None, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "key.json"
    if content == "folder":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    error = await refusal(GcsOptions("bucket", credentials_file=file), server)
    assert word in str(error)
    assert str(file) in str(error)
    assert "hush" not in f"{error} {error.hint} {error.__cause__!r} {caplog.text}"
    assert server.requests == []


async def test_a_key_of_another_kind_is_damaged(server: AnswerServer, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    other = pem(ec.generate_private_key(ec.SECP256R1()))
    file.write_text(json.dumps({"type": "service_account", "client_email": "a", "private_key": other}))
    assert "private key" in str(await refusal(GcsOptions("bucket", credentials_file=file), server))


async def test_a_file_that_was_corrected_is_read_again(store: GcsStore, server: AnswerServer, file: Path) -> None:
    whole = file.read_text()
    file.write_text("{")
    with pytest.raises(StoreRefused):
        await store.get("vault.json")
    file.write_text(whole)
    server.answers.extend([token("first"), DATA])
    assert await store.get("vault.json") == b"data"


async def test_credentials_go_to_nobody_else(store: GcsStore, server: AnswerServer) -> None:
    async with AnswerServer() as other:
        other.answers.append(DATA)
        elsewhere = Answer(307, headers={"Location": f"{other.endpoint}/x"})
        server.answers.extend([token("first"), elsewhere])
        for call in (store.get("vault.json"), store.put("vault.json", b"data"), store.list(""), store.delete("x")):
            with pytest.raises(StoreUnavailable, match="elsewhere"):
                await call
        assert other.requests == []
