from __future__ import annotations

from claude_syncd.control.events import Feed
from claude_syncd.core.status import Progress, RunResult


async def test_of_a_slow_client_the_oldest_events_are_dropped_never_the_result() -> None:
    feed = Feed()
    for done in range(10_000):
        feed.put(Progress(phase="uploading", done=done, total=10_000))
    feed.put(RunResult(uploaded=7))
    feed.end()
    received = []
    while (event := await feed.next()) is not None:
        received.append(event)
    assert len(received) < 1000
    assert b'"done":9999' in received[-2]
    assert received[-1].startswith(b"event: result\ndata: ")
