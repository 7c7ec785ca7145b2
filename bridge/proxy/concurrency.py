"""The limit on requests of one route that run at the same time (`limits.concurrency`, `limits.queue`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.core.errors import RequestError

if TYPE_CHECKING:
    from bridge.routes.rules.settings import LimitsSpec

__all__ = ["ConcurrencyLimiter"]


class ConcurrencyLimiter:
    """A semaphore with a bounded queue, as an async context manager. Waiting requests are served in order."""

    __slots__ = ("_semaphore", "_waiting", "limits")

    def __init__(self, limits: LimitsSpec) -> None:
        self.limits = limits
        self._semaphore = asyncio.Semaphore(limits.concurrency)
        self._waiting = 0  # requests

    async def __aenter__(self) -> None:
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

    async def __aexit__(self, *_: object) -> None:
        """Free the slot."""
        self._semaphore.release()
