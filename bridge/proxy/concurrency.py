"""The limits on the requests of one route that run at once or wait: `limits.concurrency`, `queue`."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.errors import BridgeError, RequestError

if TYPE_CHECKING:
    from bridge.routes.rules.route import Route
    from bridge.telemetry.metrics import Metrics

__all__ = ["ConcurrencyLimiter", "WorkerShare"]


class WorkerShare(NamedTuple):
    """The share of one worker process in a limit. The shares of all workers add up to the limit."""

    number: int = 0  # of the worker
    workers: int = 1

    def of(self, limit: int) -> int:
        """Return the share in a limit."""
        return limit // self.workers + (self.number < limit % self.workers)


class ConcurrencyLimiter:
    """The slots of a route and the requests that wait for one, in their order.

    A limiter outlives reloads: it counts all requests that are in progress, also while the route has no
    limit.

        if not limiter.acquire_at_once():
            await limiter.acquire()
        …
        limiter.release()
    """

    __slots__ = ("_limit", "_loop", "_max_waiting", "_metrics", "_route", "_running", "_timeout", "_waiting")

    def __init__(self, route: Route, share: WorkerShare, metrics: Metrics) -> None:
        self._route = route.name
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._running = 0  # requests
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.use_route(route, share)

    @property
    def is_idle(self) -> bool:
        """Return whether no request runs or waits."""
        return self._running == 0 and not self._waiting

    def use_route(self, route: Route, share: WorkerShare) -> None:
        """Use the limits of a route, which a reload may have changed."""
        limits = route.limits
        # A worker without a slot could serve no request: a limit below the number of workers is exceeded.
        self._limit = max(share.of(limits.concurrency), 1) if limits.concurrency else 0
        self._max_waiting = share.of(limits.queue)
        self._timeout = route.transport.timeouts.queue
        self._admit()

    def acquire_at_once(self) -> bool:
        """Take a slot if one is free. Return whether there was one."""
        if self._limit and (self._running >= self._limit or self._waiting):
            return False
        self._running += 1
        return True

    async def acquire(self) -> None:
        """Wait for a slot. Raise BridgeError when the queue is full (429) or after `timeouts.queue` (503)."""
        if len(self._waiting) >= self._max_waiting:
            self._metrics.queue_rejected(self._route, "full")
            message = "too many requests are waiting for this model: try again later"
            raise RequestError(429, message, code="rate_limit_exceeded", retry_after="1")
        admitted = self._loop.create_future()
        timer = self._loop.call_later(self._timeout, self._expire, admitted)
        self._waiting.append(admitted)
        self._metrics.request_waits(self._route, 1)
        try:
            await admitted
        except asyncio.CancelledError:
            if (
                admitted.done() and not admitted.cancelled()
            ):  # the slot was given just before the cancellation
                self.release()
            raise
        finally:
            timer.cancel()
            self._metrics.request_waits(self._route, -1)
            if admitted in self._waiting:
                self._waiting.remove(admitted)

    def release(self) -> None:
        """Free a slot."""
        self._running -= 1
        if self._waiting:
            self._admit()

    def _admit(self) -> None:
        """Give free slots to the requests that have waited longest."""
        while self._waiting and (not self._limit or self._running < self._limit):
            admitted = self._waiting.popleft()
            if not admitted.done():
                self._running += 1
                admitted.set_result(None)

    def _expire(self, admitted: asyncio.Future[None]) -> None:
        if admitted.done():
            return
        self._metrics.queue_rejected(self._route, "timeout")
        admitted.set_exception(
            BridgeError(
                503,
                f"the model is busy: the request waited {self._timeout:g} s for others to finish "
                "(upstream.timeouts.queue)",
                code="queue_timeout",
                retry_after="1",
            )
        )
