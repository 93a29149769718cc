"""The store on WebDAV, against answers word for word: what each means, and what is sent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from answers import Answer, AnswerServer
from faults import Fault, FaultProxy
from webdav_answers import file, folder, multistatus
from webdav_place import webdav_options
from webdav_server import WebDavServer

from claude_syncd.errors import AlreadyExists, NoSuchPlace, ObjectMissing, StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.base import MAX_OBJECT, ObjectInfo, Span
from claude_syncd.store.count import Counting
from claude_syncd.store.open import create_store
from claude_syncd.store.options import WebDavOptions
from claude_syncd.store.webdav import WebDavStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

APACHE = Answer(200, headers={"DAV": "1,2", "Allow": "GET"})
MADE = Answer(201)
NOT_FOUND = Answer(404, b"<html>Not Found</html>", {"Content-Type": "text/html"})
ROOT = "/dav/p/"
TOP = multistatus(folder(ROOT), folder(f"{ROOT}tmp/"))
PAGE = Answer(200, b"<html>Index of /", {"Content-Type": "text/html; charset=utf-8"})


@pytest.fixture
async def server() -> AsyncIterator[AnswerServer]:
    async with AnswerServer() as made:
        yield made


@pytest.fixture
def options(server: AnswerServer) -> WebDavOptions:
    return WebDavOptions(f"{server.endpoint}/dav", prefix="p", token="a-token")


@pytest.fixture
async def store(options: WebDavOptions) -> AsyncIterator[WebDavStore]:
    made = WebDavStore(options)
    yield made
    await made.close()


@pytest.fixture
async def nextcloud(server: AnswerServer, options: WebDavOptions) -> AsyncIterator[WebDavStore]:
    """On a server whose PUT of a new object is known to be whole."""
    made = WebDavStore(replace(options, url=f"{server.endpoint}/remote.php/dav/files/ann", prefix=""))
    yield made
    await made.close()


def answers(server: AnswerServer, *these: Answer) -> None:
    """From now on the server gives these."""
    server.answers.clear()
    server.answers.extend(these)
    server.requests.clear()


def asked(server: AnswerServer) -> list[str]:
    return [f"{request.method} {request.path}" for request in server.requests]


@pytest.mark.parametrize(
    ("answer", "kind", "word"),
    [
        (Answer(401), StoreRefused, "username and password"),
        (Answer(403), StoreRefused, "permission denied"),
        (Answer(405), StoreRefused, "set url"),
        (Answer(407), StoreRefused, "proxy"),
        (Answer(408), StoreUnavailable, "too slow"),
        (Answer(412), AlreadyExists, "exists already"),
        (Answer(413), StoreRefused, "33 MiB"),
        (Answer(415), StoreRefused, "415"),
        (Answer(423), StoreUnavailable, "locked"),
        (Answer(429), StoreUnavailable, "too many requests"),
        (Answer(500), StoreUnavailable, "has a problem"),
        (Answer(501), StoreRefused, "does not do what was asked"),
        (Answer(502), StoreUnavailable, "502"),
        (Answer(503), StoreUnavailable, "too many requests"),
        (Answer(507), StoreUnavailable, "quota"),
        (Answer(202), StoreUnavailable, "not yet"),
        (Answer(207), StoreUnavailable, "by halves"),
        (Answer(303, headers={"Location": "/"}), StoreUnavailable, "303"),
    ],
)
async def test_an_error_says_what_happened_and_what_to_do(
    nextcloud: WebDavStore, server: AnswerServer, answer: Answer, kind: type[StoreError], word: str
) -> None:
    answers(server, replace(answer, body=b"said with a-token"))
    with pytest.raises(StoreError) as raised:
        await nextcloud.put("vault.json", b"data", if_absent=True)
    assert type(raised.value) is kind
    said = f"{raised.value} {raised.value.hint}"
    assert word in said
    assert f"{server.endpoint}/remote.php/dav/files/ann/vault.json" in said
    assert "a-token" not in said
    assert len(server.requests) == 1


async def test_the_servers_wait_is_passed_on(nextcloud: WebDavStore, server: AnswerServer) -> None:
    for header, expected in (("7", 7.0), ("99999999", 3600.0), ("soon", None), ("-1", None)):
        answers(server, Answer(503, headers={"Retry-After": header}))
        with pytest.raises(StoreUnavailable) as raised:
            await nextcloud.get("vault.json")
        assert raised.value.retry_after == expected


async def test_where_a_put_is_whole_it_is_one_request(nextcloud: WebDavStore, server: AnswerServer) -> None:
    counting = Counting(nextcloud)
    for data in (b"", b"small", bytes(range(256)) * 9000):
        answers(server, MADE)
        await counting.put("roster/000001", data, if_absent=True)
        (sent,) = server.requests
        assert (sent.method, sent.path, sent.body) == ("PUT", "/remote.php/dav/files/ann/roster/000001", data)
        assert sent.headers["if-none-match"] == "*"
        assert sent.headers["content-length"] == str(len(data))
        assert sent.headers["authorization"] == "Bearer a-token"
    assert (counting.snapshot().put, counting.snapshot().bytes_up) == (3, 5 + 256 * 9000)


async def test_a_put_is_not_sent_again_behind_our_back(server: AnswerServer, options: WebDavOptions) -> None:
    proxy = FaultProxy(int(urlsplit(server.endpoint).port or 0))
    proxy.start()
    proxy.set(Fault(after=0, then="close"), connections=1)
    store = WebDavStore(replace(options, url=f"http://127.0.0.1:{proxy.port}/remote.php/webdav"))
    answers(server, MADE, Answer(412))
    with pytest.raises(StoreUnavailable):
        await store.put("roster/000001", b"data", if_absent=True)
    await store.close()
    await asyncio.to_thread(proxy.stop)
    assert len(server.requests) == 1


async def test_where_only_a_new_object_is_whole_an_old_one_is_replaced_by_a_rename(
    nextcloud: WebDavStore, server: AnswerServer
) -> None:
    answers(server, MADE)
    await nextcloud.put("keys/a.age", b"first")
    assert asked(server) == ["PUT /remote.php/dav/files/ann/keys/a.age"]
    answers(server, Answer(412), multistatus(folder("/remote.php/dav/files/ann/tmp/")), MADE, Answer(204))
    await nextcloud.put("keys/a.age", b"second")
    refused, _, written, renamed = server.requests
    assert refused.headers["if-none-match"] == "*"
    assert (written.method, written.body) == ("PUT", b"second")
    assert "if-none-match" not in written.headers
    assert (renamed.method, renamed.path) == ("MOVE", written.path)
    assert renamed.headers["destination"] == f"{server.endpoint}/remote.php/dav/files/ann/keys/a.age"
    assert renamed.headers["overwrite"] == "T"


async def test_apache_is_known_by_what_it_says(store: WebDavStore, server: AnswerServer) -> None:
    apache = Answer(200, headers={"DAV": "1,2,<http://apache.org/dav/propset/fs/1>"})
    answers(server, apache, Answer(204))
    await store.put("vault.json", b"data")
    await store.put("vault.json", b"data", if_absent=True)
    assert asked(server) == ["OPTIONS /dav/p/", "PUT /dav/p/vault.json", "PUT /dav/p/vault.json"]
    assert [request.headers.get("if-none-match") for request in server.requests] == [None, None, "*"]


async def test_elsewhere_an_object_gets_its_name_when_it_is_whole(store: WebDavStore, server: AnswerServer) -> None:
    counting = Counting(store)
    answers(server, APACHE, multistatus(folder(f"{ROOT}tmp/")), MADE, MADE, MADE, Answer(412), Answer(204))
    await counting.put("roster/000001", b"one", if_absent=True)
    with pytest.raises(AlreadyExists):
        await counting.put("roster/000001", b"two", if_absent=True)
    options, swept, put, move, put_again, refused, tidied = server.requests
    assert [request.method for request in server.requests] == [
        *("OPTIONS", "PROPFIND", "PUT", "MOVE", "PUT", "MOVE", "DELETE"),
    ]
    assert (options.path, swept.path) == ("/dav/p/", "/dav/p/tmp/")
    assert put.path.startswith("/dav/p/tmp/")
    assert put.path != put_again.path
    assert (move.path, refused.path) == (put.path, put_again.path)
    assert {move.headers["overwrite"], refused.headers["overwrite"]} == {"F"}
    assert move.headers["destination"] == f"{server.endpoint}/dav/p/roster/000001"
    assert tidied.path == put_again.path
    traffic = counting.snapshot()
    assert (traffic.put, traffic.bytes_up, traffic.list, traffic.head, traffic.delete) == (4, 6, 1, 1, 1)


@pytest.mark.parametrize("status", [403, 404, 409])
async def test_folders_are_made_when_they_lack(store: WebDavStore, server: AnswerServer, status: int) -> None:
    tmp = multistatus(folder(f"{ROOT}tmp/"))
    # The folder's parent lacks as well, and another device makes that one meanwhile.
    making = (TOP, Answer(409), Answer(409), MADE, Answer(405), MADE)
    answers(server, APACHE, tmp, MADE, Answer(status), *making, MADE)
    await store.put("devices/ab/log/000000000001", b"data", if_absent=True)
    assert asked(server)[4:-1] == [
        "PROPFIND /dav/p/",
        *("MKCOL /dav/p/devices/ab/log/", "MKCOL /dav/p/devices/ab/", "MKCOL /dav/p/devices/"),
        *("MKCOL /dav/p/devices/ab/", "MKCOL /dav/p/devices/ab/log/"),
    ]
    assert server.requests[-1].method == "MOVE"


async def test_the_vaults_own_folder_is_not_made_by_a_put(nextcloud: WebDavStore, server: AnswerServer) -> None:
    for top in (NOT_FOUND, multistatus(folder("/remote.php/dav/files/ann/"))):
        answers(server, Answer(409), top)
        with pytest.raises(StoreUnavailable, match="is not a store"):
            await nextcloud.put("roster/000001", b"data", if_absent=True)
        assert [request.method for request in server.requests] == ["PUT", "PROPFIND"]


async def test_a_folder_that_stays_lacking_is_an_error(nextcloud: WebDavStore, server: AnswerServer) -> None:
    top = multistatus(folder("/remote.php/dav/files/ann/"), file("/remote.php/dav/files/ann/vault.json"))
    answers(server, Answer(409), top, Answer(405), Answer(409))
    with pytest.raises(StoreUnavailable, match="409"):
        await nextcloud.put("roster/000001", b"data", if_absent=True)
    assert len(server.requests) == 4


async def test_a_rename_that_fails_leaves_nothing_behind(store: WebDavStore, server: AnswerServer) -> None:
    answers(server, APACHE, multistatus(folder(f"{ROOT}tmp/")), MADE, Answer(502), Answer(204))
    with pytest.raises(StoreUnavailable) as raised:
        await store.put("roster/000001", b"data")
    assert "Destination" in raised.value.hint
    assert (server.requests[-1].method, server.requests[-1].path) == ("DELETE", server.requests[-2].path)


async def test_leftovers_go_when_they_are_a_day_old(store: WebDavStore, server: AnswerServer) -> None:
    tmp = multistatus(
        folder(f"{ROOT}tmp/"),
        folder(f"{ROOT}tmp/a-folder/"),
        file(f"{ROOT}tmp/old", modified="Tue, 01 Apr 2025 10:00:00 GMT"),
        file(f"{ROOT}tmp/new", modified="Wed, 02 Apr 2025 09:59:00 GMT"),
        file(f"{ROOT}tmp/undated"),
        headers={"Date": "Wed, 02 Apr 2025 10:00:01 GMT"},
    )
    answers(server, APACHE, tmp, Answer(204), MADE)
    await store.put("vault.json", b"data")
    await store.put("vault.json", b"data")
    methods = [request.method for request in server.requests]
    assert methods == ["OPTIONS", "PROPFIND", "DELETE", "PUT", "MOVE", "PUT", "MOVE"]
    assert server.requests[2].path == "/dav/p/tmp/old"


async def test_a_missing_object_is_one_request_once_the_folder_was_seen(
    store: WebDavStore, server: AnswerServer
) -> None:
    counting = Counting(store)
    answers(server, NOT_FOUND, TOP, NOT_FOUND)
    for _ in range(3):
        with pytest.raises(ObjectMissing):
            await counting.get("devices/ab/log/000000000001")
    traffic = counting.snapshot()
    assert (traffic.get, traffic.list) == (3, 1)


@pytest.mark.parametrize("top", [NOT_FOUND, multistatus(folder(ROOT)), multistatus(folder(ROOT), file(f"{ROOT}x"))])
async def test_a_folder_that_is_no_store_is_never_an_empty_vault(
    store: WebDavStore, server: AnswerServer, top: Answer
) -> None:
    nothing = (NOT_FOUND, top)
    calls = (
        (store.get("vault.json"), nothing),
        (store.list("devices/"), nothing),
        (store.delete("vault.json"), nothing),
    )
    for call, these in (*calls, (store.list(""), (top,))):
        answers(server, *these)
        with pytest.raises(StoreUnavailable, match="is not a store") as raised:
            await call
        assert "claude-syncctl init" in raised.value.hint
        assert len(server.requests) == len(these)


@pytest.mark.parametrize("answer", [PAGE, Answer(405), Answer(501), Answer(403)])
async def test_a_folder_is_no_object(store: WebDavStore, server: AnswerServer, answer: Answer) -> None:
    answers(server, answer, multistatus(folder("/dav/p/devices/")), TOP)
    with pytest.raises(ObjectMissing):
        await store.get("devices")
    assert server.requests[1].headers["depth"] == "0"


async def test_a_login_page_is_no_object(store: WebDavStore, server: AnswerServer) -> None:
    answers(server, PAGE)
    for call in (store.get("vault.json"), store.list(""), store.delete("vault.json")):
        with pytest.raises(StoreUnavailable, match="not one of WebDAV"):
            await call


async def test_an_object_that_looks_like_a_page_is_one(store: WebDavStore, server: AnswerServer) -> None:
    answers(server, PAGE, multistatus(file("/dav/p/vault.json")))
    assert await store.get("vault.json") == PAGE.body


async def test_a_refusal_stays_one(store: WebDavStore, server: AnswerServer) -> None:
    answers(server, Answer(403), multistatus(file("/dav/p/vault.json")))
    with pytest.raises(StoreRefused, match="permission denied"):
        await store.get("vault.json")


async def test_a_server_that_ignores_ranges_is_borne(store: WebDavStore, server: AnswerServer) -> None:
    answers(server, Answer(200, b"0123456789"))
    assert await store.get("packs/x", Span(2, 3)) == b"234"
    assert await store.get("packs/x", Span(-3, 3)) == b"789"
    assert await store.get("packs/x", Span(20, 3)) == b""
    assert [request.headers["range"] for request in server.requests] == ["bytes=2-4", "bytes=-3", "bytes=20-22"]
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}
    answers(server, Answer(206, b"0123456789"))
    assert await store.get("packs/x", Span(0, 4)) == b"0123"
    answers(server, Answer(416))
    assert await store.get("packs/x", Span(90, 4)) == b""


async def test_an_object_larger_than_any_is_not_read(store: WebDavStore, server: AnswerServer) -> None:
    answers(server, Answer(200, bytes(MAX_OBJECT + 1)))
    with pytest.raises(StoreRefused, match="larger"):
        await store.get("packs/x")


async def test_an_object_that_comes_compressed_is_refused(store: WebDavStore, server: AnswerServer) -> None:
    answers(server, Answer(200, b"data", {"Content-Encoding": "gzip"}))
    with pytest.raises(StoreRefused, match="compressed"):
        await store.get("packs/x")


async def test_a_delete_never_takes_a_folder_along(store: WebDavStore, server: AnswerServer) -> None:
    answers(server, multistatus(folder("/dav/p/devices/ab/")), TOP)
    await store.delete("devices/ab")
    assert [request.method for request in server.requests] == ["PROPFIND", "PROPFIND"]
    answers(server, multistatus(file("/dav/p/devices/ab")), Answer(204))
    await store.delete("devices/ab")
    assert asked(server) == ["PROPFIND /dav/p/devices/ab", "DELETE /dav/p/devices/ab"]
    answers(server, multistatus(file("/dav/p/devices/ab")), Answer(423))
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.delete("devices/ab")


async def test_a_listing_looks_into_one_folder_after_the_other(store: WebDavStore, server: AnswerServer) -> None:
    counting = Counting(store)
    answers(
        server,
        multistatus(folder("/dav/p/devices/"), folder("/dav/p/devices/ab/"), file("/dav/p/devices/x", 1)),
        multistatus(folder("/dav/p/devices/ab/"), file("/dav/p/devices/ab/2"), file("/dav/p/devices/ab/1")),
    )
    found = list(await counting.list("devices/"))
    assert found == [ObjectInfo("devices/ab/1", 3), ObjectInfo("devices/ab/2", 3), ObjectInfo("devices/x", 1)]
    assert [request.headers["depth"] for request in server.requests] == ["1", "1"]
    assert counting.snapshot().list == 2


@pytest.mark.parametrize("answer", [NOT_FOUND, Answer(500), Answer(200), multistatus(folder("/dav/p/roster/"))])
async def test_a_listing_is_whole_or_an_error(store: WebDavStore, server: AnswerServer, answer: Answer) -> None:
    answers(server, multistatus(folder("/dav/p/devices/"), folder("/dav/p/devices/ab/")), answer)
    with pytest.raises((StoreUnavailable, StoreRefused)):
        await store.list("devices/")


async def test_the_first_calls_at_once_make_one_client(store: WebDavStore, server: AnswerServer) -> None:
    answers(server, Answer(200, b"data"))
    assert await asyncio.gather(*(store.get("vault.json") for _ in range(6))) == [b"data"] * 6
    assert len(server.requests) == 6


@pytest.fixture(scope="module")
def webdav_server() -> Iterator[WebDavServer]:
    made = WebDavServer()
    try:
        made.start()
        yield made
    finally:
        made.stop()


async def test_creating_makes_the_folder_once(webdav_server: WebDavServer) -> None:
    options = replace(webdav_options(webdav_server), prefix="deep/er/vault")
    store = WebDavStore(options)
    with pytest.raises(StoreUnavailable):
        await store.list("")
    for _ in range(2):
        await create_store(options)
    assert list(await store.list("")) == []
    await store.close()
    assert [path.name for path in (webdav_server.folder / "deep/er/vault").iterdir()] == ["tmp"]


@pytest.mark.parametrize("name", ["thesis.odt", "a b", "photos"])
async def test_creating_refuses_what_belongs_to_others(webdav_server: WebDavServer, name: str) -> None:
    options = webdav_options(webdav_server)
    place = webdav_server.folder / options.prefix
    (place / name).mkdir(parents=True)
    (place / ".hidden").touch()
    with pytest.raises(StoreRefused, match="holds other things"):
        await create_store(options)
    (place / name).rmdir()
    await create_store(options)
    await create_store(options)


async def test_creating_where_a_file_is_is_refused(webdav_server: WebDavServer) -> None:
    options = webdav_options(webdav_server)
    (webdav_server.folder / options.prefix).touch()
    with pytest.raises(StoreRefused, match="is not a folder"):
        await create_store(options)


async def test_creating_where_there_is_no_webdav_is_refused(webdav_server: WebDavServer) -> None:
    wrong = webdav_server.endpoint.replace("/dav", "/elsewhere/folder")
    with pytest.raises(NoSuchPlace, match="no folder to make it in"):
        await create_store(replace(webdav_options(webdav_server), url=wrong))


async def test_a_listing_of_many_objects_is_complete(webdav_server: WebDavServer) -> None:
    options = webdav_options(webdav_server)
    await create_store(options)
    for number in range(601):
        path = webdav_server.folder / options.prefix / f"devices/{number % 3}/packs/{number:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (number % 7))
    store = WebDavStore(options)
    expected = sorted((f"devices/{n % 3}/packs/{n:05}", n % 7) for n in range(601))
    assert [(info.name, info.size) for info in await store.list("")] == expected
    await store.close()


async def test_objects_of_others_are_not_seen(webdav_server: WebDavServer) -> None:
    options = webdav_options(webdav_server)
    await create_store(options)
    for name in ("a b", "ünï", "c%2Fd", "x" * 210, "plus+plus"):
        (webdav_server.folder / options.prefix / name).write_bytes(b"x")
    store = WebDavStore(options)
    await store.put("vault.json", b"mine")
    assert [info.name for info in await store.list("")] == ["vault.json"]
    await store.close()
