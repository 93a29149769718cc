"""How the store on WebDAV signs in, whom it trusts, and where it does not go."""

from __future__ import annotations

import base64
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from answers import Answer, AnswerServer
from certificate import make_certificate
from multidict import CIMultiDict
from webdav_answers import file, folder, multistatus
from webdav_place import webdav_options
from webdav_server import WebDavServer

from claude_syncd.errors import StoreRefused, StoreUnavailable
from claude_syncd.store.count import Counting
from claude_syncd.store.open import create_store
from claude_syncd.store.options import WebDavOptions
from claude_syncd.store.webdav import WebDavStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

DATA = Answer(200, b"data")
TOP = multistatus(folder("/dav/"), folder("/dav/tmp/"))
BASIC = "Basic " + base64.b64encode(b"ann:hush").decode()


def wants(challenge: str) -> Answer:
    return Answer(401, b"sign in", {"WWW-Authenticate": challenge})


@pytest.fixture
async def server() -> AsyncIterator[AnswerServer]:
    async with AnswerServer() as made:
        yield made


@pytest.fixture
def options(server: AnswerServer) -> WebDavOptions:
    return WebDavOptions(f"{server.endpoint}/dav", username="ann", password="hush")


@pytest.fixture
async def store(options: WebDavOptions) -> AsyncIterator[WebDavStore]:
    made = WebDavStore(options)
    yield made
    await made.close()


async def test_a_server_is_asked_how_before_it_gets_the_password(store: WebDavStore, server: AnswerServer) -> None:
    counting = Counting(store)
    server.answers.extend([wants('Basic realm="x"'), DATA])
    for _ in range(2):
        assert await counting.get("vault.json") == b"data"
    assert [request.headers.get("authorization") for request in server.requests] == [None, BASIC, BASIC]
    assert server.requests[0].method == "PROPFIND"
    assert (counting.snapshot().head, counting.snapshot().get) == (1, 2)


async def test_the_password_goes_along_where_strangers_may_read(store: WebDavStore, server: AnswerServer) -> None:
    server.answers.extend([TOP, DATA])
    await store.get("vault.json")
    assert server.requests[1].headers["authorization"] == BASIC


@pytest.mark.parametrize("challenges", [("Negotiate", 'basic realm="x"'), ('Negotiate, Basic realm="x"',)])
async def test_of_several_ways_basic_is_taken(
    store: WebDavStore, server: AnswerServer, challenges: tuple[str, ...]
) -> None:
    headers = CIMultiDict([("WWW-Authenticate", challenge) for challenge in challenges])
    server.answers.extend([Answer(401, headers=headers), DATA])  # type: ignore[arg-type]  # one name, several times
    await store.get("vault.json")
    assert server.requests[1].headers["authorization"] == BASIC


async def test_ways_that_are_not_known_are_refused(store: WebDavStore, server: AnswerServer) -> None:
    server.answers.append(wants("Negotiate"))
    for _ in range(2):
        with pytest.raises(StoreRefused, match="neither basic nor digest") as raised:
            await store.get("vault.json")
        assert "token" in raised.value.hint
    assert [request.headers.get("authorization") for request in server.requests] == [None, None]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_is_out_of_order_is_asked_again(
    store: WebDavStore, server: AnswerServer, status: int
) -> None:
    server.answers.extend([Answer(status), wants('Basic realm="x"'), DATA])
    with pytest.raises(StoreUnavailable):
        await store.get("vault.json")
    assert await store.get("vault.json") == b"data"


async def test_a_wrong_password_is_said_to_be_wrong(store: WebDavStore, server: AnswerServer) -> None:
    server.answers.append(wants('Basic realm="x"'))
    with pytest.raises(StoreRefused, match="not accepted") as raised:
        await store.get("vault.json")
    assert "username and password" in raised.value.hint
    assert "hush" not in f"{raised.value} {raised.value.hint} {raised.value.__cause__!r}"


async def test_a_token_goes_along_from_the_first_request(server: AnswerServer, options: WebDavOptions) -> None:
    server.answers.append(DATA)
    store = WebDavStore(replace(options, username=None, password=None, token="a-token"))
    await store.get("vault.json")
    await store.close()
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer a-token"]


async def test_without_credentials_none_go(server: AnswerServer, options: WebDavOptions) -> None:
    server.answers.append(DATA)
    store = WebDavStore(replace(options, username=None, password=None))
    await store.get("vault.json")
    await store.close()
    assert "authorization" not in server.requests[0].headers


@pytest.fixture(scope="module")
def digest_server() -> Iterator[WebDavServer]:
    made = WebDavServer(digest=True)
    try:
        made.start()
        yield made
    finally:
        made.stop()


async def test_a_digest_is_given_where_it_is_wanted(digest_server: WebDavServer) -> None:
    options = webdav_options(digest_server)
    await create_store(options)
    store = WebDavStore(options)
    counting = Counting(store)
    data = secrets.token_bytes(3_000_000)
    await counting.put("devices/ab/packs/x", data)
    assert await counting.get("devices/ab/packs/x") == data
    assert len(list(await counting.list(""))) == 1
    await store.close()
    wrong = WebDavStore(replace(options, password="another"))
    with pytest.raises(StoreRefused, match="not accepted"):
        await wrong.get("vault.json")
    await wrong.close()


async def test_both_requests_of_a_digest_are_counted(store: WebDavStore, server: AnswerServer) -> None:
    counting = Counting(store)
    challenge = wants('Digest realm="x", nonce="1", qop="auth", algorithm=SHA-256')
    stale = wants('Digest realm="x", nonce="2", qop="auth", algorithm=SHA-256, stale=true')
    server.answers.extend([challenge, challenge, DATA, DATA, stale, DATA])
    for _ in range(3):
        assert await counting.get("vault.json") == b"data"
    used = [request.headers.get("authorization", "")[:6] for request in server.requests]
    assert used == ["", "", "Digest", "Digest", "Digest", "Digest"]
    assert not any("hush" in request.headers.get("authorization", "") for request in server.requests)
    traffic = counting.snapshot()
    assert (traffic.head, traffic.get, traffic.bytes_down) == (1, 5, 12)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path)


async def test_a_server_of_ones_own_is_trusted_by_its_certificate(options: WebDavOptions, certificate: Path) -> None:
    async with AnswerServer(certificate) as server:
        server.answers.extend([wants('Basic realm="x"'), DATA])
        store = WebDavStore(replace(options, url=server.endpoint, ca_bundle=certificate))
        assert await store.get("vault.json") == b"data"
        await store.close()


async def test_a_certificate_that_is_not_trusted_stops_everything(options: WebDavOptions, certificate: Path) -> None:
    async with AnswerServer(certificate) as server:
        store = WebDavStore(replace(options, url=server.endpoint))
        with pytest.raises(StoreUnavailable, match="certificate is not trusted") as raised:
            await store.put("vault.json", b"data")
        await store.close()
        assert "ca_bundle" in raised.value.hint
        assert server.requests == []


@pytest.mark.parametrize("content", [None, b"no certificate"])
async def test_certificates_that_cannot_be_read(options: WebDavOptions, tmp_path: Path, content: bytes | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    store = WebDavStore(replace(options, ca_bundle=bundle))
    with pytest.raises(StoreRefused, match=r"ca\.pem can't be read"):
        await store.get("vault.json")
    await store.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "dav.example/x"},
        {"url": "ftp://dav.example/x"},
        {"url": "https://"},
        {"url": "https://[dav.example/x"},
        {"url": "https://ann:hush@dav.example/x"},
        {"url": "https://hush@dav.example/x"},
        {"url": "https://dav.example/x?token=hush"},
        {"url": "https://dav.example/x#hush"},
        {"username": "a:b"},
        {"username": None, "password": None, "token": "hush\r\nX: y"},
        {"username": None, "password": None, "token": "hush hush"},
    ],
)
async def test_settings_that_cannot_work_are_refused(options: WebDavOptions, wrong: dict[str, str | None]) -> None:
    store = WebDavStore(replace(options, **wrong))  # type: ignore[arg-type]  # fields of several types
    with pytest.raises(StoreRefused, match="settings of the WebDAV store can't work") as raised:
        await store.get("vault.json")
    await store.close()
    assert "hush" not in f"{raised.value} {raised.value.hint} {store.address}"


async def test_where_the_same_server_moved_the_folder_it_is_followed(store: WebDavStore, server: AnswerServer) -> None:
    counting = Counting(store)
    server.answers.extend([TOP, Answer(301, headers={"Location": "/new/vault.json"}), DATA])
    assert await counting.get("vault.json") == b"data"
    assert [request.path for request in server.requests[1:]] == ["/dav/vault.json", "/new/vault.json"]
    assert counting.snapshot().get == 2
    moved = multistatus(folder("/new/roster/"), file("/new/roster/000001"))
    server.answers.clear()
    server.answers.extend([Answer(308, headers={"Location": f"{server.endpoint}/new/roster/"}), moved])
    assert [info.name for info in await counting.list("roster/")] == ["roster/000001"]
    assert [request.method for request in server.requests[3:]] == ["PROPFIND", "PROPFIND"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_nothing_goes_to_another_server(store: WebDavStore, server: AnswerServer, status: int) -> None:
    async with AnswerServer() as other:
        other.answers.append(DATA)
        server.answers.extend([TOP, Answer(status, headers={"Location": f"{other.endpoint}/dav/vault.json"})])
        for call in (store.get("vault.json"), store.put("vault.json", b"data"), store.list(""), store.delete("x")):
            with pytest.raises(StoreRefused, match="another server"):
                await call
        assert other.requests == []


@pytest.mark.parametrize("location", ["", "https://127.0.0.1/dav/", "//other.example/", "http://[", "file:///etc"])
async def test_a_move_to_nowhere_is_not_followed(store: WebDavStore, server: AnswerServer, location: str) -> None:
    server.answers.extend([TOP, Answer(301, headers={"Location": location})])
    with pytest.raises((StoreRefused, StoreUnavailable)):
        await store.get("vault.json")


async def test_a_move_in_circles_comes_to_an_end(store: WebDavStore, server: AnswerServer) -> None:
    server.answers.extend([TOP, Answer(302, headers={"Location": "/dav/vault.json"})])
    with pytest.raises(StoreUnavailable, match="again and again"):
        await store.get("vault.json")
    assert len(server.requests) == 5
