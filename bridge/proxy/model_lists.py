"""The upstreams' own lists of models (`models_from`), requested when a client requests `/v1/models`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.errors import BridgeError
from bridge.routes.rules.model_list import model_names
from bridge.tasks import TaskRegistry
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.routes.rules.route import Route
    from bridge.upstream.client import UpstreamClient

__all__ = ["ModelLists"]

_MAX_RESPONSE = 4 * 2**20  # bytes
_MAX_NAMES = 10_000  # of one upstream
_TIMEOUT = 5.0  # seconds of a request for a list
_LIFETIME = 60.0  # seconds until a list is requested again


class _List(NamedTuple):
    """A list that was received."""

    route: Route
    names: Sequence[str]
    until: float  # seconds of the loop's clock


class ModelLists:
    """The lists of all routes with `models_from`. A list that cannot be renewed is used as it was."""

    def __init__(self, upstream: UpstreamClient) -> None:
        self._upstream = upstream
        self._loop = asyncio.get_running_loop()
        self._lists: dict[str, _List] = {}  # by the name of the route
        self._requests: dict[str, asyncio.Task[None]] = {}  # in progress, by the name of the route
        self._tasks = TaskRegistry()

    async def names(self, routes: Sequence[Route]) -> dict[str, Sequence[str]]:
        """Return the names in the lists of routes, by the route's name. Other routes are forgotten."""
        sources = {route.name: route for route in routes if route.model_list.request is not None}
        self._lists = {name: known for name, known in self._lists.items() if known.route is sources.get(name)}
        now = self._loop.time()
        due = [name for name in sources if name not in self._lists or self._lists[name].until <= now]
        await asyncio.gather(*(self._renew(sources[name]) for name in due))
        return {name: self._lists[name].names for name in sources if name in self._lists}

    def close(self) -> None:
        """End the requests in progress."""
        self._tasks.cancel()

    async def _renew(self, route: Route) -> None:
        """Wait for the request of a list, which all clients share."""
        task = self._requests.get(route.name)
        if task is None:
            task = self._requests[route.name] = self._tasks.start(self._request(route))
        await asyncio.shield(task)

    async def _request(self, route: Route) -> None:
        known = self._lists.get(route.name)
        names = known.names if known else ()
        try:
            names = await self._fetch(route)
        except (BridgeError, TimeoutError, ValueError) as error:
            reason = getattr(error, "message", "") or str(error) or f"no response within {_TIMEOUT:g} s"
            log("list of models not received", logging.WARNING, route=route.name, error=route.mask(reason))
        finally:
            self._requests.pop(route.name, None)
        self._lists[route.name] = _List(route, names, self._loop.time() + _LIFETIME)

    async def _fetch(self, route: Route) -> Sequence[str]:
        """Return the names in the upstream's list. Raise BridgeError, TimeoutError or ValueError."""
        request = route.model_list.build_request()
        async with asyncio.timeout(_TIMEOUT):
            status, _, body = await self._upstream.fetch(request, route.transport, _MAX_RESPONSE)
        if not 200 <= status < 300:
            raise ValueError(f"the upstream responded {status}")
        return model_names(body)[:_MAX_NAMES]
