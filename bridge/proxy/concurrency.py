"""How many requests of a route are carried at once, and how many may wait."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from bridge.core.errors import RequestError

if TYPE_CHECKING:
    from bridge.routes.rules.settings import LimitsSpec

__all__ = ["ConcurrencyLimiter"]


class ConcurrencyLimiter:
    """Lets so many requests of a route through at once, and so many wait, in the order of their coming."""

    __slots__ = ("_free", "_waiting", "limits")

    def __init__(self, limits: LimitsSpec) -> None:
        self.limits = limits
        self._free = limits.concurrency
        self._waiting: deque[asyncio.Future[None]] = deque()

    def try_acquire(self) -> bool:
        """Take a place among those let through, if one is free."""
        if not self._free:  # while some wait none is: it is handed on
            return False
        self._free -= 1
        return True

    async def acquire(self) -> None:
        """Wait for a place. Raises RequestError (429) when too many wait already."""
        if len(self._waiting) >= self.limits.queue:
            raise RequestError(
                429,
                "too many requests are waiting for this model",
                code="rate_limit_exceeded",
                retry_after="1",
            )
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self.release()  # it was given, and is not wanted any more
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def release(self) -> None:
        """Give the place back, to whoever has waited for one longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
