"""An event loop on which nothing is left to chance: time is virtual, and what goes to a pool of threads runs in its
turn, so that one seed is one run.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Executor

T = TypeVar("T")

EPOCH_NS = 1_790_000_000_000_000_000
"""What the wall clock shows when the loop's shows 0."""


class SimLoop(VirtualTimeLoop):
    """`pause` says how long (virtual seconds) the answer of a thread is on its way: what others do meanwhile comes
    between two steps of a round.
    """

    def __init__(self, pause: Callable[[], float]) -> None:
        super().__init__()
        self._clock_resolution = 1e-6  # months are more than a float has room for beside nanoseconds
        self._pause = pause

    def now_ns(self) -> int:
        """The wall clock."""
        return EPOCH_NS + int(self.time() * 1e9)

    def run_in_executor(  # type: ignore[override]  # its parameters have other names in typeshed
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            result = func(*args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits
            self._answer(future.set_exception, future, error)
        else:
            self._answer(future.set_result, future, result)
        return future

    def _answer(self, give: Callable[[Any], None], future: asyncio.Future[T], value: object) -> None:
        pause = self._pause()
        if pause <= 0:
            give(value)
            return
        self.call_later(pause, lambda: None if future.done() else give(value))


def run_in(loop: SimLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end. What a device that was killed leaves unheard is no news."""
    loop.set_exception_handler(lambda _loop, _context: None)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)
