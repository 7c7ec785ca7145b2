"""How many requests of a route are carried at once, and how many may wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.errors import RequestError

if TYPE_CHECKING:
    from bridge.routes.route import Route

__all__ = ["Gate"]


class Gate:
    """Lets so many requests of a route through at once, and so many wait."""

    def __init__(self, route: Route) -> None:
        self.limits = route.limits
        self._free = asyncio.Semaphore(route.limits.concurrency)
        self._waiting = 0

    async def enter(self) -> None:
        """Take a place among those let through. Raises RequestError (429) when too many wait already."""
        if self._waiting >= self.limits.queue and self._free.locked():
            raise RequestError(
                429,
                "too many requests are waiting for this model",
                code="rate_limit_exceeded",
                retry_after="1",
            )
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        """Give the place back."""
        self._free.release()
