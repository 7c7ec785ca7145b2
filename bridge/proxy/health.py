"""Health checks: a task for each route with `upstream.health`, which checks every server of the route."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.core.errors import BridgeError, UpstreamError
from bridge.core.headers import RequestHeaders
from bridge.routes.rules.request_template import UpstreamRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.proxy.replica_sets import ReplicaSets
    from bridge.routes.rules.health import HealthRule
    from bridge.routes.rules.route import Route
    from bridge.upstream.client import UpstreamClient

__all__ = ["HealthChecks"]

_MAX_RESPONSE = 2**16  # bytes
_TIMEOUT = 5.0  # seconds of one check


class HealthChecks:
    """The health checks of all routes."""

    def __init__(self, upstream: UpstreamClient, replica_sets: ReplicaSets) -> None:
        self._upstream = upstream
        self._replica_sets = replica_sets
        self._tasks: list[asyncio.Task[None]] = []

    def use(self, routes: Iterable[Route]) -> None:
        """Check the servers of these routes from now on."""
        for task in self._tasks:
            task.cancel()
        self._tasks = [
            asyncio.ensure_future(self._run(route, route.health)) for route in routes if route.health
        ]

    async def close(self) -> None:
        """End all checks."""
        self.use(())

    async def _run(self, route: Route, rule: HealthRule) -> None:
        while True:
            await asyncio.gather(*(self._check(route, rule, index) for index in range(len(rule.urls))))
            await asyncio.sleep(rule.every)

    async def _check(self, route: Route, rule: HealthRule, index: int) -> None:
        headers = RequestHeaders({"Accept": "*/*", "Accept-Encoding": "identity"})
        request = UpstreamRequest("GET", (rule.urls[index],), headers, None)
        try:
            async with asyncio.timeout(_TIMEOUT):
                status, _, body = await self._upstream.fetch(request, route.transport, _MAX_RESPONSE)
        except UpstreamError as error:
            fault: str | None = route.mask(error.message)
        except BridgeError:  # the bridge has no descriptor left, which says nothing about the server
            return
        except TimeoutError:
            fault = f"the health check has no response within {_TIMEOUT:g} s"
        else:
            fault = rule.fault(status, body)
        self._replica_sets.get(route).checked(index, fault)
