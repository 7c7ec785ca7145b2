"""Sends the requests of an exchange: to the replica whose turn it is, and again where `retry` says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bridge.core.errors import Kind, UpstreamError
from bridge.exchange.commands import Heard

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bridge.exchange.commands import Send
    from bridge.exchange.upstream_call import Leg
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.telemetry.metrics import Metrics
    from bridge.upstream.client import Response, Upstream
    from bridge.upstream.websocket import Socket

__all__ = ["Sender"]


class Sender:
    """Sends requests. A leg with calls around its answer stays with the replica that answered first."""

    def __init__(self, upstream: Upstream, metrics: Metrics) -> None:
        self._upstream = upstream
        self._metrics = metrics
        self._turn = 0

    def sent(self, leg: Leg, request: UpstreamRequest) -> Coroutine[Any, Any, Response | Socket]:
        """The answer of the first replica that gives one worth having, to be closed. Raises UpstreamError."""
        transport = leg.course.route.transport
        if len(request.urls) == 1 and transport.retry is None:
            if leg.around is not None:
                leg.replica = 0
            return self._upstream.send(request, transport)
        return self._chosen(leg, request)

    async def heard(self, leg: Leg, send: Send) -> Heard:
        """The whole answer of a call. Raises UpstreamError."""
        response = await self.sent(leg, send.request)
        try:
            body = await response.read(send.limit)
            return Heard(response.status, response.headers, body, asyncio.get_running_loop().time())
        finally:
            await response.close()

    async def _chosen(self, leg: Leg, request: UpstreamRequest) -> Response | Socket:
        route = leg.asking.route
        transport, retry = route.transport, route.transport.retry
        pinned, last = leg.replica is not None, len(request.urls) - 1
        attempts = retry.attempts if retry else 0 if pinned else last
        if leg.replica is None:
            self._turn += 1
        first = self._turn if leg.replica is None else leg.replica
        for attempt in range(attempts + 1):
            replica = first if pinned else (first + attempt) % len(request.urls)
            try:
                response = await self._upstream.send(request, transport, replica=replica)
                if attempt == attempts or retry is None or str(response.status) not in retry.on:
                    leg.replica = replica if leg.around else None
                    return response
                await response.close()
            except UpstreamError as error:
                if attempt == attempts or error.kind not in (retry.on if retry else (Kind.CONNECT,)):
                    raise
                self._metrics.failed(route.name, error.kind)
            if retry is not None:
                await asyncio.sleep(retry.backoff * 2**attempt)
        raise AssertionError("the last attempt returns or raises")
