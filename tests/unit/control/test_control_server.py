from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from memory_service import MemoryService

from claude_syncd import errors
from claude_syncd.control.client import Client
from claude_syncd.control.messages import MAX_BODY
from claude_syncd.control.server import serve
from claude_syncd.core.status import State

if TYPE_CHECKING:
    from tests.unit.control.conftest import Served

EVENTS = "text/event-stream"


def events(content: bytes) -> list[tuple[str, dict[str, object]]]:
    """Take apart a body of server-sent events that was sent in chunks."""
    found = []
    name = ""
    for line in content.split(b"\n"):
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            found.append((name, json.loads(line[6:])))
    return found


async def curl(path: Path, *arguments: str, as_user: int | None = None) -> tuple[int, bytes]:
    other = () if as_user is None else ("setpriv", f"--reuid={as_user}", "--clear-groups")
    process = await asyncio.create_subprocess_exec(
        *(*other, "curl", "-sS", "--max-time", "20", "--unix-socket", str(path), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output


async def test_status_is_answered(served: Served) -> None:
    status, content = await served.ask("GET", "/v1/status")
    answer = json.loads(content)
    assert status == 200
    assert answer["state"] == "idle"
    assert answer["device"] == {"id": "a" * 32, "name": "laptop", "last_seen": None, "this": True}
    assert answer["daemon"] is True


async def test_a_run_answers_when_it_is_done(served: Served) -> None:
    status, content = await served.ask("POST", "/v1/push", b'{"project": "/p"}')
    assert (status, json.loads(content)["uploaded"]) == (200, 3)
    kind, request = served.service.runs[0]
    assert (kind, request.project, request.dry_run, request.from_device) == ("push", "/p", False, None)


async def test_a_run_needs_no_body(served: Served) -> None:
    assert (await served.ask("POST", "/v1/sync"))[0] == 200
    assert served.service.runs[0][0] == "sync"


async def test_a_dry_run_answers_with_the_plan(served: Served) -> None:
    status, content = await served.ask("POST", "/v1/pull", b'{"dry_run": true, "from_device": "desktop"}')
    assert status == 200
    assert [line["change"] for line in json.loads(content)["diff"]] == ["upload", "download"]
    assert served.service.runs[0][1].from_device == "desktop"


async def test_a_run_streams_progress_then_its_result(served: Served) -> None:
    status, content = await served.ask("POST", "/v1/push", accept=EVENTS)
    told = events(content)
    assert status == 200
    assert [name for name, _ in told] == ["progress", "progress", "progress", "result"]
    assert told[0][1] == {"phase": "uploading", "done": 1, "total": 3, "bytes_done": 100, "bytes_total": 300}
    assert told[-1][1]["bytes_up"] == 1234567


async def test_a_streamed_run_that_fails_ends_with_the_error(served: Served) -> None:
    status, content = await served.ask("POST", "/v1/push", b'{"project": "/offline"}', EVENTS)
    assert status == 200
    assert events(content) == [
        (
            "error",
            {
                "error": "the store can't be reached: timed out",
                "hint": errors.StoreUnavailable.default_hint,
                "exit_code": 1,
            },
        )
    ]


@pytest.mark.parametrize(("project", "code", "exit_code"), [("/offline", 503, 1), ("/broken", 500, 1)])
async def test_a_run_that_fails_is_an_error(served: Served, project: str, code: int, exit_code: int) -> None:
    status, content = await served.ask("POST", "/v1/push", json.dumps({"project": project}).encode())
    assert status == code
    assert json.loads(content)["exit_code"] == exit_code


async def test_a_hold_is_an_error_of_its_own(served: Served) -> None:
    served.service.state = State.HELD
    status, content = await served.ask("POST", "/v1/push")
    assert (status, json.loads(content)["exit_code"]) == (409, 5)
    assert (await served.ask("POST", "/v1/resume", b"{}"))[0] == 409
    assert (await served.ask("POST", "/v1/resume", b'{"accept": true}'))[0] == 200
    assert (await served.ask("POST", "/v1/push"))[0] == 200


@pytest.mark.parametrize("accept", ["*/*", EVENTS])
async def test_an_unexpected_error_tells_nothing_and_the_server_goes_on(served: Served, accept: str) -> None:
    _, content = await served.ask("POST", "/v1/push", b'{"project": "/broken"}', accept)
    assert b"internal error: ZeroDivisionError" in content
    assert b"secret content" not in content
    assert (await served.ask("GET", "/v1/status"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/", b"", 404),
        ("GET", "/v2/status", b"", 404),
        ("POST", "/v1/status", b"", 405),
        ("GET", "/v1/push", b"", 405),
        ("POST", "/v1/push", b"{", 400),
        ("POST", "/v1/push", b"[]", 400),
        ("POST", "/v1/push", b"\xff\xfe", 400),
        ("POST", "/v1/push", b"[" * 60_000, 400),
        ("POST", "/v1/push", b'{"dry_run": "yes"}', 400),
        ("POST", "/v1/push", b'{"dry_runs": true}', 400),
        ("POST", "/v1/push", b'{"project": "a\\u0000b"}', 400),
        ("POST", "/v1/push", b'{"project": "' + b"x" * 5000 + b'"}', 400),
        ("POST", "/v1/pause", b'{"seconds": 0}', 400),
        ("POST", "/v1/pause", b'{"seconds": 1e99}', 400),
        ("POST", "/v1/conflicts/resolve", b'{"keep": "mine"}', 400),
        ("POST", "/v1/conflicts/resolve", b"", 400),
        ("POST", "/v1/devices/rename", b'{"name": "a\\nb"}', 400),
        ("GET", "/v1/conflicts/none", b"", 400),
        ("POST", "/v1/push", b" " * (MAX_BODY + 1), 413),
    ],
)
async def test_what_makes_no_sense_is_refused_in_the_same_form(
    served: Served, method: str, path: str, body: bytes, code: int
) -> None:
    status, content = await served.ask(method, path, body)
    assert status == code
    assert set(json.loads(content)) == {"error", "hint", "exit_code"}
    assert served.service.runs == []


async def test_a_wrong_method_is_told_the_right_one(served: Served) -> None:
    status, headers, _ = await served.exchange(b"GET /v1/push HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (status, headers["allow"]) == (405, "post")


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x00\xa5\x01\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n"])
async def test_junk_is_refused_and_the_server_goes_on(served: Served, junk: bytes) -> None:
    status, _, _ = await served.exchange(junk)
    assert status == 400
    assert (await served.ask("GET", "/v1/status"))[0] == 200


async def test_conflicts_are_listed_shown_and_resolved(served: Served) -> None:
    listed = json.loads((await served.ask("GET", "/v1/conflicts"))[1])
    assert [conflict["id"] for conflict in listed["conflicts"]] == ["c1f00d", "c2beef"]
    shown = json.loads((await served.ask("GET", "/v1/conflicts/c1"))[1])
    assert shown["conflict"]["path"] == "CLAUDE.md"
    assert shown["diff"].startswith("--- a")
    one = await served.ask("POST", "/v1/conflicts/c1f00d/resolve", b'{"keep": "local"}')
    assert json.loads(one[1]) == {"resolved": 1}
    rest = await served.ask("POST", "/v1/conflicts/resolve", b'{"keep": "both"}')
    assert json.loads(rest[1]) == {"resolved": 1}
    assert served.service.kept == {}


async def test_pause_resume_and_rename_answer_how_it_is_then(served: Served) -> None:
    paused = json.loads((await served.ask("POST", "/v1/pause", b'{"seconds": 60}'))[1])
    assert (paused["state"], paused["paused_until"]) == ("paused", "2099-01-01T00:00:00Z")
    assert json.loads((await served.ask("POST", "/v1/resume"))[1])["state"] == "idle"
    renamed = json.loads((await served.ask("POST", "/v1/devices/rename", b'{"name": "tower"}'))[1])
    assert renamed["devices"][0]["name"] == "tower"


async def test_poke_answers_with_nothing_and_metrics_with_text(served: Served) -> None:
    assert await served.ask("POST", "/v1/poke") == (204, b"")
    status, headers, content = await served.exchange(
        b"GET /v1/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"claude_syncd_pokes_total 1\n" in content


async def test_events_begin_with_the_status_and_follow_its_changes(served: Served) -> None:
    reader, writer = await asyncio.open_unix_connection(served.path)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"event: status\n")
    served.service.name = "tower"
    await served.ask("POST", "/v1/poke")
    await reader.readuntil(b"event: status\n")
    assert b'"name":"tower"' in await reader.readline()
    writer.close()


async def test_a_client_that_leaves_does_not_cancel_its_run(served: Served) -> None:
    body = b'{"project": "/slow"}'
    for accept in (b"*/*", EVENTS.encode()):
        served.service.started.clear()
        _, writer = await asyncio.open_unix_connection(served.path)
        head = b"POST /v1/push HTTP/1.1\r\nHost: x\r\nAccept: %b\r\nContent-Length: %d\r\n\r\n" % (accept, len(body))
        writer.write(head + body)
        await served.service.started.wait()
        writer.transport.abort()
    # Both have left: the server answers others meanwhile, and carries both runs to their end.
    assert (await served.ask("GET", "/v1/status"))[0] == 200
    assert served.service.finished == 0
    served.service.gate.set()
    async with asyncio.timeout(10):
        while served.service.finished < 2:
            await asyncio.sleep(0)


async def test_many_clients_are_served_at_once(served: Served) -> None:
    slow = [asyncio.create_task(served.ask("POST", "/v1/push", b'{"project": "/slow"}')) for _ in range(10)]
    quick = await asyncio.gather(*(served.ask("GET", "/v1/status") for _ in range(50)))
    assert {status for status, _ in quick} == {200}
    served.service.gate.set()
    assert {status for status, _ in await asyncio.gather(*slow)} == {200}


async def test_stopping_tells_who_waits_and_leaves_nothing_behind(served: Served) -> None:
    plain = asyncio.create_task(served.ask("POST", "/v1/push", b'{"project": "/slow"}'))
    await served.service.started.wait()
    served.service.started.clear()
    streamed = asyncio.create_task(served.ask("POST", "/v1/push", b'{"project": "/slow"}', EVENTS))
    await served.service.started.wait()
    watching = asyncio.create_task(served.ask("GET", "/v1/events"))
    while not served.service.watchers:
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await served.stop()
    status, content = await plain
    assert (status, json.loads(content)["error"]) == (503, "the daemon stopped before the push was done")
    assert [name for name, _ in events((await streamed)[1])] == ["progress", "error"]
    assert [name for name, _ in events((await watching)[1])] == ["status"]
    assert list(served.path.parent.iterdir()) == []
    with pytest.raises(errors.NoDaemon):
        Client(served.path).request("GET", "/v1/status")


async def test_a_second_server_is_refused_and_the_first_goes_on(served: Served) -> None:
    with pytest.raises(errors.AlreadyRunning):
        await serve(MemoryService(), served.path, lambda: None)
    assert (await served.ask("GET", "/v1/status"))[0] == 200


async def test_the_socket_is_for_its_owner_only(served: Served) -> None:
    assert stat.S_IMODE(served.path.stat().st_mode) == 0o600


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_curl_works(served: Served) -> None:
    code, output = await curl(served.path, "http://localhost/v1/status")
    assert (code, json.loads(output)["state"]) == (0, "idle")
    code, output = await curl(served.path, "-N", "-H", f"Accept: {EVENTS}", "-X", "POST", "http://x/v1/push")
    assert (code, output.count(b"event: ")) == (0, 4)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("curl"),
    reason="only root can take on another user id; needs Linux, setpriv and curl",
)
async def test_another_user_is_turned_away_even_if_modes_let_them_in() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "control.sock"
        ready = asyncio.Event()
        task = asyncio.create_task(serve(MemoryService(), path, ready.set))
        await ready.wait()
        Path(folder).chmod(0o755)
        assert (await curl(path, "http://x/v1/status", as_user=65534))[0] == 7  # the socket's mode keeps them out
        path.chmod(0o666)
        code, output = await curl(path, "http://x/v1/status", as_user=65534)
        assert (code, json.loads(output)["error"]) == (0, "this daemon answers only the user who runs it")
        assert (await curl(path, "http://x/v1/status"))[1].startswith(b'{"state"')
        task.cancel()
        await asyncio.wait({task})


async def test_the_client_speaks_to_it(served: Served) -> None:
    client = Client(served.path)
    status = await asyncio.to_thread(client.request, "GET", "/v1/status")
    assert status["device"]["name"] == "laptop"
    assert await asyncio.to_thread(client.request, "POST", "/v1/poke") is None
    assert "pokes_total 1" in await asyncio.to_thread(client.request, "GET", "/v1/metrics")
    told = await asyncio.to_thread(lambda: list(client.stream("POST", "/v1/sync", {})))
    assert [name for name, _ in told] == ["progress", "progress", "progress", "result"]
    with pytest.raises(errors.UsageError, match="no conflict zz"):
        await asyncio.to_thread(client.request, "GET", "/v1/conflicts/zz")
    with pytest.raises(errors.SyncError, match="larger than 64 KiB"):
        await asyncio.to_thread(client.request, "POST", "/v1/push", "x" * 5_000_000)
    served.service.state = State.HELD
    with pytest.raises(errors.Held):
        await asyncio.to_thread(lambda: list(client.stream("POST", "/v1/push", {})))
