"""The choice of a replica for each upstream request, and retries (`upstream.replicas`, `upstream.retry`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.commands import FetchedResponse

if TYPE_CHECKING:
    from bridge.exchange.commands import SendRequest
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.telemetry.metrics import Metrics
    from bridge.upstream.client import UpstreamClient
    from bridge.upstream.response import UpstreamResponse

__all__ = ["Dispatcher"]

_NEXT_REPLICA_ON = (UpstreamFailure.CONNECT,)  # failures after which a route without `retry` tries another


class Dispatcher:
    """Sends requests to replicas in turn.

    A call with callouts keeps to the replica that answered its first request, which holds the session.
    """

    def __init__(self, upstream: UpstreamClient, metrics: Metrics) -> None:
        self._upstream = upstream
        self._metrics = metrics
        self._turn = 0  # requests that had a choice of replicas so far

    async def dispatch(self, call: UpstreamCall, request: UpstreamRequest) -> UpstreamResponse:
        """Send a request. Return the first acceptable response; the caller closes it. Raise UpstreamError."""
        transport = call.plan.route.transport
        if len(request.urls) > 1 or transport.retry is not None:
            return await self._dispatch_with_retries(call, request)
        if call.callouts is not None:
            call.replica = 0
        return await self._upstream.send(request, transport)

    async def fetch(self, call: UpstreamCall, send: SendRequest) -> FetchedResponse:
        """Send the request of a callout. Return the whole response. Raise UpstreamError."""
        response = await self.dispatch(call, send.request)
        try:
            body = await response.read(send.limit)
            return FetchedResponse(response.status, response.headers, body, asyncio.get_running_loop().time())
        finally:
            await response.close()

    async def _dispatch_with_retries(self, call: UpstreamCall, request: UpstreamRequest) -> UpstreamResponse:
        route = call.builder.route
        transport, retry = route.transport, route.transport.retry
        pinned = call.replica is not None
        if call.replica is None:
            self._turn += 1
        first = self._turn if call.replica is None else call.replica
        retries = retry.attempts if retry else 0 if pinned else len(request.urls) - 1
        for attempt in range(retries + 1):
            replica = first if pinned else (first + attempt) % len(request.urls)
            try:
                response = await self._upstream.send(request, transport, replica=replica)
                if attempt == retries or retry is None or str(response.status) not in retry.on:
                    call.replica = replica if call.callouts else None
                    return response
                await response.close()
            except UpstreamError as error:
                if attempt == retries or error.kind not in (retry.on if retry else _NEXT_REPLICA_ON):
                    raise
                self._metrics.upstream_failed(route.name, error.kind)
            if retry is not None:
                await asyncio.sleep(retry.backoff * 2**attempt)
        raise AssertionError("the last attempt returns or raises")
