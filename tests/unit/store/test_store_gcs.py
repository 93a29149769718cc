"""The store on Google Cloud Storage, against answers word for word: what each means, and what is sent."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from answers import Answer, AnswerServer
from gcs_place import gcs_options
from gcs_server import GcsServer

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.base import MAX_OBJECT, ObjectInfo, Span
from claude_syncd.store.count import Counting
from claude_syncd.store.gcs import GcsStore
from claude_syncd.store.gcs_client import LONGEST_ANSWER
from claude_syncd.store.options import GcsOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

JSON = {"Content-Type": "application/json; charset=UTF-8"}
TEXT = {"Content-Type": "text/html; charset=UTF-8"}
NO_BUCKET = Answer(404, b"The specified bucket does not exist.", TEXT)
NO_OBJECT = Answer(404, b"No such object: bucket/p/vault.json", TEXT)


@pytest.fixture
async def server() -> AsyncIterator[AnswerServer]:
    async with AnswerServer() as made:
        yield made


@pytest.fixture
def options(server: AnswerServer) -> GcsOptions:
    return GcsOptions("bucket", prefix="p", endpoint=server.endpoint)


@pytest.fixture
async def store(options: GcsOptions) -> AsyncIterator[GcsStore]:
    made = GcsStore(options)
    yield made
    await made.close()


def gcs_error(status: int, reason: str, message: str = "said with secret-key", **headers: str) -> Answer:
    """An error as Google gives it, with words that echo the request."""
    entry = {"domain": "global", "reason": reason, "message": message}
    body = {"error": {"code": status, "message": message, "errors": [entry]}}
    return Answer(status, json.dumps(body).encode(), {**JSON, **headers})


def stored(data: bytes, **other: str) -> Answer:
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return Answer(200, json.dumps({"size": str(len(data)), "md5Hash": md5, **other}).encode(), JSON)


def page(*names: str, token: str = "", kind: str = "storage#objects") -> Answer:
    content: dict[str, object] = {"kind": kind}
    if names:
        content["items"] = [{"name": name, "size": "3"} for name in names]
    if token:
        content["nextPageToken"] = token
    return Answer(200, json.dumps(content).encode(), JSON)


@pytest.mark.parametrize(
    ("answer", "kind", "word"),
    [
        (gcs_error(401, "authError"), StoreRefused, "credentials"),
        (gcs_error(403, "forbidden"), StoreRefused, "storage.objects.get"),
        (gcs_error(403, "insufficientPermissions"), StoreRefused, "roles/storage.objectUser"),
        (gcs_error(403, "accountDisabled"), StoreRefused, "billing"),
        (gcs_error(403, "accessNotConfigured"), StoreRefused, "API"),
        (gcs_error(403, "retentionPolicyNotMet"), StoreRefused, "retention policy"),
        (gcs_error(403, "rateLimitExceeded"), StoreUnavailable, "too many requests"),
        (gcs_error(403, "userRateLimitExceeded"), StoreUnavailable, "too many requests"),
        (Answer(403, b"ann does not have storage.objects.create access", TEXT), StoreRefused, "permission"),
        (gcs_error(400, "invalid"), StoreRefused, "400"),
        (gcs_error(400, "userProjectMissing"), StoreRefused, "requester pays"),
        (gcs_error(400, "invalid", "Provided MD5 hash doesn't match calculated MD5"), StoreUnavailable, "damaged"),
        (gcs_error(404, "notFound", "The specified bucket does not exist."), StoreRefused, "no such bucket"),
        (gcs_error(404, "notFound"), StoreRefused, "endpoint"),
        (Answer(404, b"<html>Not Found</html>", TEXT), StoreRefused, "endpoint"),
        (Answer(407), StoreRefused, "proxy"),
        (Answer(408), StoreUnavailable, "too slow"),
        (gcs_error(409, "conflict"), StoreUnavailable, "another operation"),
        (gcs_error(412, "conditionNotMet"), AlreadyExists, "exists already"),
        (Answer(413), StoreRefused, "413"),
        (gcs_error(429, "rateLimitExceeded"), StoreUnavailable, "too many requests"),
        (gcs_error(500, "backendError"), StoreUnavailable, "500"),
        (gcs_error(500, "backendError", "No such object: not now"), StoreUnavailable, "500"),
        (Answer(502, b"<html>Bad Gateway</html>", TEXT), StoreUnavailable, "502"),
        (gcs_error(503, "backendError"), StoreUnavailable, "too many requests"),
        (Answer(200, b"<html>Welcome to the hotel's network", TEXT), StoreUnavailable, "login page"),
        (Answer(200, b"\xff\xfe", JSON), StoreUnavailable, "login page"),
        (Answer(200, b"{}", JSON), StoreUnavailable, "login page"),
        (Answer(302, headers={"Location": "http://127.0.0.1:9/"}), StoreUnavailable, "elsewhere"),
        (Answer(303, headers={"Location": "/"}), StoreUnavailable, "elsewhere"),
    ],
)
async def test_an_error_says_what_happened_and_what_to_do(
    store: GcsStore, server: AnswerServer, answer: Answer, kind: type[StoreError], word: str
) -> None:
    server.answers.append(answer)
    with pytest.raises(StoreError) as raised:
        await store.put("vault.json", b"data")
    assert isinstance(raised.value, kind)
    said = f"{raised.value} {raised.value.hint}"
    assert word in said
    assert "gs://bucket/p" in said
    assert "secret-key" not in said + "".join(traceback.format_exception(raised.value))
    assert len(server.requests) == 1


async def test_the_servers_wait_is_passed_on(store: GcsStore, server: AnswerServer) -> None:
    for header, expected in (("7", 7.0), ("99999999", 3600.0), ("soon", None), ("-1", None)):
        server.answers.clear()
        server.answers.append(gcs_error(503, "backendError", **{"Retry-After": header}))
        with pytest.raises(StoreUnavailable) as raised:
            await store.get("vault.json")
        assert raised.value.retry_after == expected


async def test_a_put_is_one_request_whatever_its_size(store: GcsStore, server: AnswerServer) -> None:
    counting = Counting(store)
    for data in (b"", b"small", bytes(range(256)) * 30_000):
        server.answers.clear()
        server.requests.clear()
        server.answers.append(stored(data))
        await counting.put("packs/x", data)
        (sent,) = server.requests
        assert (sent.method, sent.body) == ("POST", data)
        assert urlsplit(sent.path).path == "/upload/storage/v1/b/bucket/o"
        asked = parse_qs(urlsplit(sent.path).query)
        assert (asked["name"], asked["uploadType"]) == (["p/packs/x"], ["media"])
        assert "ifGenerationMatch" not in asked
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        assert sent.headers["x-goog-hash"] == f"md5={md5}"
        assert sent.headers["content-type"] == "application/octet-stream"
        assert "authorization" not in sent.headers
    assert (counting.snapshot().put, counting.snapshot().bytes_up) == (3, 5 + 256 * 30_000)


async def test_a_condition_is_sent_where_it_is_asked_for(store: GcsStore, server: AnswerServer) -> None:
    server.answers.append(stored(b"data"))
    for if_absent in (True, False, True):
        await store.put("roster/000001", b"data", if_absent=if_absent)
    asked = [parse_qs(urlsplit(request.path).query).get("ifGenerationMatch") for request in server.requests]
    assert asked == [["0"], None, ["0"]]


async def test_a_condition_that_is_not_met_is_not_tried_again(store: GcsStore, server: AnswerServer) -> None:
    server.answers.append(gcs_error(412, "conditionNotMet"))
    with pytest.raises(AlreadyExists):
        await store.put("packs/x", bytes(6_000_000), if_absent=True)
    assert len(server.requests) == 1


@pytest.mark.parametrize("other", [{"size": "3"}, {"md5Hash": "AAAAAAAAAAAAAAAAAAAAAA=="}])
async def test_what_arrived_damaged_is_not_stored(store: GcsStore, server: AnswerServer, other: dict[str, str]) -> None:
    server.answers.append(stored(b"data", **other))
    with pytest.raises(StoreUnavailable, match="damaged"):
        await store.put("vault.json", b"data")


async def test_a_missing_object_is_told_from_a_missing_bucket(store: GcsStore, server: AnswerServer) -> None:
    server.answers.append(NO_OBJECT)
    with pytest.raises(ObjectMissing):
        await store.get("vault.json")
    await store.delete("vault.json")
    assert len(server.requests) == 2
    server.answers.append(NO_BUCKET)
    server.answers.popleft()
    for call in (store.get("vault.json"), store.delete("vault.json"), store.list("")):
        with pytest.raises(StoreRefused, match="no such bucket"):
            await call


async def test_where_a_server_does_not_say_which_a_listing_does(store: GcsStore, server: AnswerServer) -> None:
    counting = Counting(store)
    server.answers.extend([Answer(404, b"Not Found"), gcs_error(404, "notFound")])
    with pytest.raises(StoreRefused, match="no such bucket"):
        await counting.get("vault.json")
    server.answers.extend([gcs_error(404, "notFound"), page()])
    server.answers.popleft()
    await counting.delete("vault.json")
    server.answers.append(Answer(404, b"Not Found"))
    server.answers.popleft()
    with pytest.raises(ObjectMissing):
        await counting.get("vault.json")
    traffic = counting.snapshot()
    assert (traffic.get, traffic.delete, traffic.list) == (2, 1, 2)


async def test_a_server_that_ignores_ranges_is_borne(store: GcsStore, server: AnswerServer) -> None:
    server.answers.append(Answer(200, b"0123456789"))
    assert await store.get("packs/x", Span(2, 3)) == b"234"
    assert await store.get("packs/x", Span(-3, 3)) == b"789"
    assert await store.get("packs/x", Span(20, 3)) == b""
    assert [request.headers["range"] for request in server.requests] == ["bytes=2-4", "bytes=-3", "bytes=20-22"]
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}
    assert urlsplit(server.requests[0].path).path == "/storage/v1/b/bucket/o/p%2Fpacks%2Fx"


async def test_more_than_was_asked_for_is_cut(store: GcsStore, server: AnswerServer) -> None:
    server.answers.append(Answer(206, b"0123456789"))
    assert await store.get("packs/x", Span(0, 4)) == b"0123"


async def test_an_object_larger_than_any_is_not_read(store: GcsStore, server: AnswerServer) -> None:
    server.answers.append(Answer(200, bytes(MAX_OBJECT + 1)))
    with pytest.raises(StoreRefused, match="larger"):
        await store.get("packs/x")


async def test_an_object_that_comes_compressed_is_refused(store: GcsStore, server: AnswerServer) -> None:
    server.answers.append(Answer(200, b"data", {"Content-Encoding": "br"}))
    with pytest.raises(StoreRefused, match="compressed"):
        await store.get("packs/x")


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_end_is_not_read_to_its_end(store: GcsStore, server: AnswerServer, status: int) -> None:
    server.answers.append(Answer(status, b" " * (LONGEST_ANSWER + 1), JSON))
    with pytest.raises(StoreUnavailable, match="too long"):
        await store.list("")


async def test_pages_of_a_listing_are_put_together_and_counted(store: GcsStore, server: AnswerServer) -> None:
    counting = Counting(store)
    server.answers.extend(
        [page("p/r/2", "p/r/1", token="next page"), page(token="more"), page("p/r/0", "p/q", "x/r/3")]
    )
    assert list(await counting.list("r/")) == [ObjectInfo(f"r/{n}", 3) for n in range(3)]
    assert counting.snapshot().list == 3
    asked = [parse_qs(urlsplit(request.path).query) for request in server.requests]
    assert [query["prefix"] for query in asked] == [["p/r/"]] * 3
    assert [query.get("pageToken") for query in asked] == [None, ["next page"], ["more"]]


@pytest.mark.parametrize(
    "answers",
    [
        [page("p/r/1", token="same"), page("p/r/1", token="same")],
        [page("p/r/1", token="next"), gcs_error(500, "backendError")],
        [page("p/r/1", token="next"), Answer(200, b'{"kind": "storage#objects", "items": [{"name": "p/r/2"}', JSON)],
        [page("p/r/1", token="next"), Answer(200, b'{"kind": "storage#objects", "items": [{"name": "p/r/2"}]}', JSON)],
        [page("p/r/1", kind="storage#buckets")],
        [Answer(200, b"{}", JSON)],
        [Answer(200, b"[]", JSON)],
        [Answer(200, b"<html><body>Welcome to the hotel's network", TEXT)],
    ],
)
async def test_a_listing_is_whole_or_an_error(store: GcsStore, server: AnswerServer, answers: list[Answer]) -> None:
    server.answers.extend(answers)
    with pytest.raises(StoreUnavailable):
        await store.list("r/")


@pytest.fixture(scope="module")
def gcs_server() -> Iterator[GcsServer]:
    made = GcsServer()
    made.start()
    yield made
    made.stop()


async def test_objects_of_others_are_not_seen(gcs_server: GcsServer) -> None:
    options = gcs_options(gcs_server)
    mine, other = GcsStore(options), GcsStore(replace(options, prefix=f"{options.prefix}2"))
    for name in (f"{options.prefix}/folder/", f"{options.prefix}/a b", f"{options.prefix}/../x", options.prefix):
        gcs_server.objects[name] = (b"x", 1)
    await mine.put("vault.json", b"mine")
    assert [info.name for info in await mine.list("")] == ["vault.json"]
    assert list(await other.list("")) == []
    with pytest.raises(ObjectMissing):
        await other.get("vault.json")
    await mine.close()
    await other.close()


async def test_the_first_calls_at_once_make_one_client(store: GcsStore, server: AnswerServer) -> None:
    server.answers.append(Answer(200, b"data"))
    assert await asyncio.gather(*(store.get("vault.json") for _ in range(6))) == [b"data"] * 6
    assert len(server.requests) == 6


@pytest.mark.parametrize("bucket", ["a/b", "..", "Bucket", "b?c", "ab"])
async def test_a_bucket_that_can_be_none_is_refused(server: AnswerServer, options: GcsOptions, bucket: str) -> None:
    store = GcsStore(replace(options, bucket=bucket))
    for _ in range(2):  # it is no lasting state of the store
        with pytest.raises(StoreRefused, match="no bucket can have that name"):
            await store.get("vault.json")
    await store.close()
    assert server.requests == []


async def test_an_emulator_is_found_in_the_environment_and_gets_no_credentials(
    server: AnswerServer, options: GcsOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", urlsplit(server.endpoint).netloc)
    store = GcsStore(replace(options, endpoint=None))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:9")  # what counts is the making of the store
    server.answers.append(Answer(200, b"data"))
    assert await store.get("vault.json") == b"data"
    await store.close()
    assert "authorization" not in server.requests[0].headers


def test_nothing_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys\n"
        "from claude_syncd.store.open import GcsOptions, WebDavOptions, open_store\n"
        "print(open_store(GcsOptions('bucket', prefix='/a/b/')).store.address)\n"
        "print(open_store(WebDavOptions('https://dav.example/x/', prefix='y')).store.address)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    bucket, folder, loaded = done.stdout.splitlines()
    assert (bucket, folder) == ("gs://bucket/a/b", "https://dav.example/x/y")
    assert not {"gcloud", "aiohttp", "cryptography"}.intersection(loaded.split())
