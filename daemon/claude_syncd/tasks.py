"""Work side by side on the event loop, and off it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from concurrent.futures import Executor

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Wait for all of them. The first failure cancels the others and is raised as itself, not as one of a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


async def drop(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End what nobody wants any more."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def off_loop(pool: Executor, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run blocking work in the pool. When cancelled it waits for the work to end: nothing goes on behind the back of
    whoever cleans up then.
    """
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(pool, lambda: function(*args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # the cancellation is what counts; this one was looked at
        raise
