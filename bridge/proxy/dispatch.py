"""The choice of a replica for each upstream request, and retries (`upstream.replicas`, `upstream.retry`)."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.retry_after import retry_after
from bridge.exchange.commands import FetchedResponse
from bridge.proxy.health import HealthChecks
from bridge.proxy.replica_response import ReplicaResponse
from bridge.proxy.replica_sets import ReplicaSets
from bridge.proxy.retry import Attempts, RetryBudget, status_causes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection

    from bridge.exchange.commands import SendRequest
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.route import Route
    from bridge.routes.rules.transport import TransportSpec
    from bridge.telemetry.metrics import Metrics
    from bridge.upstream.client import UpstreamClient
    from bridge.upstream.response import UpstreamResponse

__all__ = ["Dispatcher"]


class Dispatcher:
    """Sends requests to replicas in turn.

    A call with callouts keeps to the replica that answered its first request, which holds the session.
    """

    def __init__(self, upstream: UpstreamClient, metrics: Metrics) -> None:
        self._upstream = upstream
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._replica_sets = ReplicaSets(metrics)
        self._health_checks = HealthChecks(upstream, self._replica_sets)
        self._budgets: dict[str, RetryBudget] = defaultdict(RetryBudget)  # by the name of the route

    def use_routes(self, routes: Collection[Route]) -> None:
        """Check the health of the servers of these routes, and forget other routes."""
        self._replica_sets.keep_only(routes)
        self._health_checks.use(routes)
        for name in self._budgets.keys() - {route.name for route in routes}:
            del self._budgets[name]

    async def close(self) -> None:
        """End the health checks."""
        await self._health_checks.close()

    def dispatch(self, call: UpstreamCall, request: UpstreamRequest) -> Awaitable[UpstreamResponse]:
        """Send a request. Return the first acceptable response; the caller closes it. Raise UpstreamError."""
        plan = call.plan
        if plan.first_token is not None:
            call.sent_at = self._loop.time()
        return self._dispatch(call, request, plan.transport)

    async def fetch(self, call: UpstreamCall, send: SendRequest) -> FetchedResponse:
        """Send the request of a callout. Return the whole response. Raise UpstreamError."""
        response = await self._dispatch(call, send.request, call.plan.route.transport)
        try:
            body = await response.read(send.limit)
            return FetchedResponse(response.status, response.headers, body, asyncio.get_running_loop().time())
        finally:
            await response.close()

    def _dispatch(
        self, call: UpstreamCall, request: UpstreamRequest, transport: TransportSpec
    ) -> Awaitable[UpstreamResponse]:
        if len(request.urls) > 1 or transport.resends:
            return self._dispatch_with_retries(call, request, transport)
        if call.callouts is not None:
            call.replica = 0
        call.url = request.urls[0]
        return self._upstream.send(request, transport)

    async def _dispatch_with_retries(
        self, call: UpstreamCall, request: UpstreamRequest, transport: TransportSpec
    ) -> UpstreamResponse:
        route, started = call.builder.route, self._loop.time()
        pinned = call.replica is not None
        attempts = Attempts(
            transport,
            self._budgets[route.name],
            replicas=1 if pinned else len(request.urls),
            started=started,
        )
        tried: set[int] = set()
        while True:
            try:
                response = await self._send(call, request, transport, tried, started)
            except UpstreamError as error:
                delay = attempts.delay(error.causes, None, self._loop.time())
                if delay is None:
                    raise
                cause = error.causes[0]
                self._metrics.upstream_failed(route.name, error.kind)
            else:
                causes = status_causes(response.status)
                requested = retry_after(response.headers, time.time()) if causes else None
                delay = attempts.delay(causes, requested, self._loop.time())
                if delay is None:
                    if call.callouts is not None:
                        call.replica = response.index if isinstance(response, ReplicaResponse) else 0
                    return response
                cause = causes[0]
                await response.close()
            self._metrics.upstream_retried(route.name, cause)
            call.retries += 1
            await asyncio.sleep(delay)

    async def _send(
        self,
        call: UpstreamCall,
        request: UpstreamRequest,
        transport: TransportSpec,
        tried: set[int],
        started: float,
    ) -> UpstreamResponse:
        """Send a request to the call's replica, or else to one that is not among the `tried` ones."""
        count = len(request.urls)
        call.sent_at = self._loop.time()
        if count == 1:
            call.url = request.urls[0]
            return await self._upstream.send(request, transport, started=started)
        replicas = self._replica_sets.get(call.builder.route)
        if call.replica is None:
            index = replicas.choose(tried, self._loop.time())
        else:
            index = replicas.begin(call.replica % count)
        tried.add(index)
        call.url = request.urls[index]
        try:
            response = await self._upstream.send(request, transport, replica=index, started=started)
        except BaseException as error:
            if isinstance(error, UpstreamError) and error.kind is not UpstreamFailure.TOKEN:
                replicas.failed(index, self._loop.time())
            replicas.end(index)
            raise
        if response.status >= 500:
            replicas.failed(index, self._loop.time())
        else:
            replicas.succeeded(index)
        return ReplicaResponse(response, replicas, index)
