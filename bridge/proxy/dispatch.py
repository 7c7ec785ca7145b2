"""Sends the requests of an exchange: to the replica whose turn it is, and again where `retry` says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.commands import FetchedResponse

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bridge.exchange.commands import SendRequest
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.telemetry.metrics import Metrics
    from bridge.upstream.client import UpstreamClient, UpstreamResponse
    from bridge.upstream.websocket import WebSocketResponse

__all__ = ["Dispatcher"]


class Dispatcher:
    """Sends requests. A leg with calls around its answer stays with the replica that answered first."""

    def __init__(self, upstream: UpstreamClient, metrics: Metrics) -> None:
        self._upstream = upstream
        self._metrics = metrics
        self._next_replica = 0

    def dispatch(
        self, leg: UpstreamCall, request: UpstreamRequest
    ) -> Coroutine[Any, Any, UpstreamResponse | WebSocketResponse]:
        """The answer of the first replica that gives one worth having, to be closed. Raises UpstreamError."""
        transport = leg.course.route.transport
        if len(request.urls) == 1 and transport.retry is None:
            if leg.callouts is not None:
                leg.replica = 0
            return self._upstream.send(request, transport)
        return self._dispatch_with_retries(leg, request)

    async def fetch(self, leg: UpstreamCall, send: SendRequest) -> FetchedResponse:
        """The whole answer of a call. Raises UpstreamError."""
        response = await self.dispatch(leg, send.request)
        try:
            body = await response.read(send.limit)
            return FetchedResponse(response.status, response.headers, body, asyncio.get_running_loop().time())
        finally:
            await response.close()

    async def _dispatch_with_retries(
        self, leg: UpstreamCall, request: UpstreamRequest
    ) -> UpstreamResponse | WebSocketResponse:
        route = leg.asking.route
        transport, retry = route.transport, route.transport.retry
        pinned, last = leg.replica is not None, len(request.urls) - 1
        attempts = retry.attempts if retry else 0 if pinned else last
        if leg.replica is None:
            self._next_replica += 1
        first = self._next_replica if leg.replica is None else leg.replica
        for attempt in range(attempts + 1):
            replica = first if pinned else (first + attempt) % len(request.urls)
            try:
                response = await self._upstream.send(request, transport, replica=replica)
                if attempt == attempts or retry is None or str(response.status) not in retry.on:
                    leg.replica = replica if leg.callouts else None
                    return response
                await response.close()
            except UpstreamError as error:
                if attempt == attempts or error.kind not in (
                    retry.on if retry else (UpstreamFailure.CONNECT,)
                ):
                    raise
                self._metrics.failed(route.name, error.kind)
            if retry is not None:
                await asyncio.sleep(retry.backoff * 2**attempt)
        raise AssertionError("the last attempt returns or raises")
