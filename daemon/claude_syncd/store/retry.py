"""A store that tries again what failed in passing."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type

from claude_syncd.errors import AlreadyExists, ObjectMissing, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tenacity import RetryCallState

    from claude_syncd.store.base import ObjectInfo, Span, Store

_Result = TypeVar("_Result")

ATTEMPTS = 5
BASE = 0.2
CAP = 20.0


class Retrying:
    """Tries again on StoreUnavailable, and on nothing else.

    The wait before attempt n+1 is drawn evenly from 0 to min(`cap`, `base` * 2**(n-1)) seconds, and is never shorter
    than what the server asked for. If that is longer than `cap`, the error is passed on at once: whoever schedules
    the work knows better what to do meanwhile.
    """

    def __init__(
        self,
        store: Store,
        *,
        attempts: int = ATTEMPTS,
        base: float = BASE,
        cap: float = CAP,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`draw` gives numbers from 0 to 1."""
        self._store = store
        self._attempts = attempts
        self._base = base
        self._cap = cap
        self._sleep = sleep
        self._draw = draw

    @property
    def address(self) -> str:
        """That of the store within."""
        return self._store.address

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See Store. If an attempt failed, a later one may find what that one wrote: equal bytes are its own."""
        ambiguous = False

        async def attempt() -> None:
            nonlocal ambiguous
            try:
                await self._store.put(name, data, if_absent=if_absent)
            except StoreUnavailable:
                ambiguous = True
                raise
            except AlreadyExists:
                if not ambiguous or not await self._holds(name, data):
                    raise

        await self._retried(attempt)

    async def get(self, name: str, span: Span | None = None) -> bytes:
        """See Store."""
        return await self._retried(lambda: self._store.get(name, span))

    async def list(self, prefix: str) -> Iterable[ObjectInfo]:
        """See Store."""
        return await self._retried(lambda: self._store.list(prefix))

    async def delete(self, name: str) -> None:
        """See Store."""
        await self._retried(lambda: self._store.delete(name))

    async def drop_history(self) -> None:
        """See Store."""
        await self._retried(self._store.drop_history)

    async def close(self) -> None:
        """See Store."""
        await self._store.close()

    async def _holds(self, name: str, data: bytes) -> bool:
        try:
            return await self._store.get(name) == data
        except ObjectMissing:
            return False

    async def _retried(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        retrying = AsyncRetrying(
            sleep=self._sleep,
            stop=self._stop,
            wait=self._wait,
            retry=retry_if_exception_type(StoreUnavailable),
            reraise=True,
        )

        async def attempt() -> _Result:  # tenacity awaits coroutine functions only
            return await call()

        return await retrying(attempt)

    def _stop(self, state: RetryCallState) -> bool:
        return state.attempt_number >= self._attempts or _asked_for(state) > self._cap

    def _wait(self, state: RetryCallState) -> float:
        longest = min(self._cap, self._base * 2.0 ** (state.attempt_number - 1))
        return max(_asked_for(state), self._draw() * longest)


def _asked_for(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after or 0.0 if isinstance(error, StoreUnavailable) else 0.0
