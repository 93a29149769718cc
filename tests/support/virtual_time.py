"""An event loop whose clock runs ahead to the next timer as soon as nothing else is left to do: hours pass in
milliseconds, and each turn of the loop is counted. Threads and sockets are real, and are waited for.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Executor

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`turns`: how often the loop has waited for something to happen."""

    def __init__(self) -> None:
        self.turns = 0
        self._now = 1000.0
        self._at_work = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._now

    def run_in_executor(  # type: ignore[override]  # its parameters have other names in typeshed
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._at_work += 1
        future.add_done_callback(self._worked)
        return future

    def _worked(self, _future: object) -> None:
        self._at_work -= 1

    def passed(self, timeout: float | None) -> float | None:
        """How long to wait really when the loop would wait for `timeout`."""
        self.turns += 1
        return None if self._at_work and timeout != 0 else 0

    def skip(self, timeout: float | None) -> None:
        """Nothing happened: it is that much later."""
        assert timeout is not None, "nothing will ever happen"
        self._now += timeout


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(self._loop.passed(timeout))
        if not found and timeout != 0:
            self._loop.skip(timeout)
        return found


def in_virtual_time(main: Callable[[VirtualTimeLoop], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on such a loop."""
    loop = VirtualTimeLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))
