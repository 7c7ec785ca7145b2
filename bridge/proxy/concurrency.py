"""The limit on requests of one route that run at the same time (`limits.concurrency`, `limits.queue`)."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from bridge.core.errors import RequestError

if TYPE_CHECKING:
    from bridge.routes.rules.settings import LimitsSpec

__all__ = ["ConcurrencyLimiter"]


class ConcurrencyLimiter:
    """A semaphore with a bounded queue. Waiting requests are served in order.

    if not limiter.acquire_at_once():
        await limiter.acquire()
    …
    limiter.release()
    """

    __slots__ = ("_free", "_semaphore", "_waiting", "limits")

    def __init__(self, limits: LimitsSpec) -> None:
        self.limits = limits
        self._free = limits.concurrency or math.inf  # slots
        self._semaphore = asyncio.Semaphore(0)  # the slots that requests in the queue receive
        self._waiting = 0  # requests in the queue

    def acquire_at_once(self) -> bool:
        """Take a slot if there is a free one, which is cheaper than `acquire`."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def acquire(self) -> None:
        """Wait for a slot. Raise RequestError (429) when the queue is full."""
        if self._waiting >= self.limits.queue and self._semaphore.locked():
            raise RequestError(
                429,
                "too many requests are waiting for this model: try again later",
                code="rate_limit_exceeded",
                retry_after="1",
            )
        self._waiting += 1
        try:
            await self._semaphore.acquire()
        finally:
            self._waiting -= 1

    def release(self) -> None:
        """Free a slot."""
        if self._waiting:
            self._semaphore.release()
        else:
            self._free += 1
