"""The choice of a replica for each upstream request, and retries (`upstream.replicas`, `upstream.retry`)."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.retry_after import retry_after
from bridge.exchange.commands import FetchedResponse
from bridge.proxy.health import HealthChecks
from bridge.proxy.replica_response import ReplicaResponse
from bridge.proxy.replica_sets import ReplicaSets
from bridge.proxy.replicas import Others
from bridge.proxy.retry import Attempts, RetryBudget, status_causes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection

    from bridge.exchange.commands import SendRequest
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.proxy.replicas import ReplicaSet
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
        self._replica_sets.use_routes(routes)
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
        route = call.builder.route
        replicas = self._replica_sets.get(route) if len(request.urls) > 1 else None
        sending = _Sending(call, request, transport, replicas, self._loop.time())
        attempts = Attempts(transport, self._budgets[route.name], sending.started)
        while True:
            try:
                response = await self._send(sending)
            except UpstreamError as error:
                sending.causes = error.causes
                delay = attempts.delay(error.causes, None, self._loop.time(), self._others(sending))
                if delay is None:
                    raise
                self._metrics.upstream_failed(route.name, error.kind)
            else:
                sending.causes = causes = status_causes(response.status)
                requested = retry_after(response.headers, time.time()) if causes else None
                delay = attempts.delay(causes, requested, self._loop.time(), self._others(sending))
                if delay is None:
                    if call.callouts is not None:
                        call.replica = response.index if isinstance(response, ReplicaResponse) else 0
                    return response
                await response.close()
            self._metrics.upstream_retried(route.name, sending.causes[0])
            call.retries += 1
            await asyncio.sleep(delay)

    def _others(self, sending: _Sending) -> Others:
        """Return what replicas there are for another attempt, besides those that were tried."""
        if sending.replicas is None or sending.call.replica is not None:
            return Others.NONE
        return sending.replicas.others(sending.tried, self._loop.time())

    async def _send(self, sending: _Sending) -> UpstreamResponse:
        """Send a request once: to the replica of its call, or else to one that was not tried."""
        call, request, replicas = sending.call, sending.request, sending.replicas
        call.sent_at = now = self._loop.time()
        if replicas is None:
            call.url = request.urls[0]
            return await self._upstream.send(request, sending.transport, started=sending.started)
        if call.replica is None:
            index = replicas.choose(sending.tried, now, unreachable="connect" in sending.causes)
        else:
            index = replicas.begin(call.replica % len(request.urls))
        sending.tried.append(index)
        call.url = request.urls[index]
        try:
            response = await self._upstream.send(
                request, sending.transport, replica=index, started=sending.started
            )
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


@dataclass(slots=True)
class _Sending:
    """The attempts to send one request."""

    call: UpstreamCall
    request: UpstreamRequest
    transport: TransportSpec
    replicas: ReplicaSet | None  # None: there is one server
    started: float  # when the first attempt began, in seconds of the loop's clock
    tried: list[int] = field(default_factory=list)  # indexes of replicas
    causes: tuple[str, ...] = ()  # of the failure of the latest attempt
