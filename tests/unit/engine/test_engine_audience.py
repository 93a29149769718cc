from claude_syncd.core.status import Progress
from claude_syncd.engine.audience import QUEUED, Audience


def step(done: int) -> Progress:
    return Progress(phase="push", done=done, total=1000)


def test_progress_reaches_who_listens_and_who_waits_until_they_leave() -> None:
    audience = Audience()
    heard: list[Progress] = []
    with audience.listening() as queue, audience.heard(heard.append):
        assert audience.listens
        audience.progressed(step(1))
    audience.progressed(step(2))
    assert heard == [step(1)]
    assert [queue.get_nowait() for _ in range(queue.qsize())] == [step(1)]
    assert not audience.listens


def test_a_slow_listener_keeps_nobody_waiting() -> None:
    audience = Audience()
    with audience.listening() as slow, audience.listening() as quick:
        for done in range(QUEUED + 1):
            audience.progressed(step(done))
            assert quick.get_nowait() == step(done)
        assert slow.qsize() == QUEUED
        assert slow.get_nowait() == step(0)
