"""Blocking work done at once, by the thread that asks for it: so a run makes its system calls in one order, every time.

Import it before anything of the package: `from one_thread import in_one_thread; in_one_thread()`.
"""

from __future__ import annotations

import concurrent.futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class Inline(ThreadPoolExecutor):
    """An executor without threads."""

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Call it now."""
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - handed on
            future.set_exception(error)
        return future


def in_one_thread() -> None:
    """Every executor that is made from now on is an `Inline`, also asyncio's own."""
    concurrent.futures.ThreadPoolExecutor = Inline  # type: ignore[misc]
