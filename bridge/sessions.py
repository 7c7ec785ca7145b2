"""The calls that open and close sessions: what is opened is closed, whatever becomes of its request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.errors import UpstreamError
from bridge.logs import log

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bridge.exchange.legs import Leg
    from bridge.metrics import Metrics
    from bridge.routes.route import Route
    from bridge.upstream import Upstream

__all__ = ["Sessions"]

_LARGEST = 2**20  # bytes of such a call's answer
_PATIENCE = 10.0  # seconds at shutdown for the calls that are still to be made


class Sessions:
    """Opens and closes sessions. Their calls are tasks of their own, which a leaving client does not end."""

    def __init__(self, upstream: Upstream, metrics: Metrics) -> None:
        self._upstream = upstream
        self._metrics = metrics
        self._calls: set[asyncio.Task[None]] = set()

    async def open(self, leg: Leg, route: Route) -> None:
        """Open the session of a leg, where its route has one. Raises UpstreamError."""
        if route.session is None:
            return
        opening = self._start(self._open(leg, route))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The server may have opened it already: its answer is awaited, and the session closed.
            opening.add_done_callback(lambda call: self._close_opened(call, leg, route))
            raise

    def close(self, leg: Leg, route: Route) -> None:
        """Close the session of a leg, where one is open."""
        self._start(self._close(leg, route))

    async def finish(self) -> None:
        """Wait for the calls that are still to be made."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while self._calls and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._calls, timeout=left)

    def _close_opened(self, call: asyncio.Task[None], leg: Leg, route: Route) -> None:
        if not call.cancelled() and call.exception() is None:
            self.close(leg, route)

    async def _open(self, leg: Leg, route: Route) -> None:
        opening = leg.opening()
        assert opening is not None
        leg.opened(*await self._upstream.fetch(opening, route.transport, _LARGEST))

    async def _close(self, leg: Leg, route: Route) -> None:
        closing = leg.closing()
        if closing is None:
            return
        try:
            status, _, _ = await self._upstream.fetch(closing, route.transport, _LARGEST)
            if status >= 400:
                log("session not closed", 30, route=route.name, status=status)
        except UpstreamError as error:
            self._metrics.failed(route.name, error.kind)
            log("session not closed", 30, route=route.name, error=error.message)

    def _start(self, call: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task
