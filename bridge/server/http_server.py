"""The connections of the front: how many there may be, and which of them are closed.

One periodic timer finds the clients that read nothing, so that responses need no timer of their own.
"""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING

from aiohttp import web

from bridge.core import json
from bridge.core.errors import BridgeError
from bridge.server.client_address import is_trusted
from bridge.server.http_protocol import HTTPProtocol
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.routes.rules.server_settings import ClientLimitsSpec
    from bridge.server.api import ServerState
    from bridge.server.request import Request
    from bridge.server.response import Response

__all__ = ["HTTPServer"]

_CHECKS_PER_TIMEOUT = 4  # how often `limits.send` is checked in its own time
_EVICTED_SHARE = 64  # a 64th of all connections is closed at once, so that searches for idle ones are rare
_LOG_INTERVAL = 60.0  # seconds between two log lines about too many connections


def _too_many_connections() -> bytes:
    """Return the response to a connection that is one too many."""
    error = BridgeError(503, "too many connections: try again later", code="too_many_connections")
    body = json.dumps(error.envelope)
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


class HTTPServer(web.Server):
    """The connections of one port.

    refusal: the response to a connection that is not admitted.
    """

    refusal = _too_many_connections()

    def __init__(
        self,
        handler: Callable[[Request], Awaitable[Response]],
        state: ServerState,
        affordable: int,
    ) -> None:
        # The handler gets a Request and returns a Response of the bridge, not aiohttp's.
        super().__init__(handler, handler_cancellation=True)  # type: ignore[arg-type]
        self.handler = handler
        self._state = state
        self._affordable = affordable  # connections that file descriptors suffice for
        self._admitted: dict[HTTPProtocol, None] = {}  # a set in the order of arrival
        self._next_log = 0.0  # seconds of the loop's clock
        self._timer = self._loop.call_later(0, self._check_sending)

    @property
    def limits(self) -> ClientLimitsSpec:
        """The limits that are in force, which a reload replaces."""
        return self._state.table.server.limits

    def is_proxy(self, address: str) -> bool:
        """Return whether an address is that of a trusted proxy."""
        proxies = self._state.table.server.trusted_proxies
        return bool(proxies) and is_trusted(address, proxies)

    def __call__(self) -> web.RequestHandler:
        return HTTPProtocol(self)

    def admit(self, connection: HTTPProtocol) -> bool:
        """Return whether a new connection is accepted, after closing idle ones if there are too many."""
        admitted = self._admitted
        limit = min(self.limits.connections, self._affordable)
        if len(admitted) >= limit:
            self._log_full()
            # As nginx does: connections without a request are closed for a new one, the oldest first.
            idle = [*islice((each for each in admitted if each.is_idle), 1 + limit // _EVICTED_SHARE)]
            for each in idle:
                del admitted[each]
                each.force_close()
            if not idle:
                return False
        admitted[connection] = None
        return True

    def release(self, connection: HTTPProtocol) -> None:
        """Count a connection as closed."""
        self._admitted.pop(connection, None)

    def _log_full(self) -> None:
        now = self._loop.time()
        if now >= self._next_log:
            self._next_log = now + _LOG_INTERVAL
            log("too many connections", logging.WARNING, connections=len(self._admitted))

    def _check_sending(self) -> None:
        """Disconnect the clients that read nothing."""
        timeout, now = self.limits.send, self._loop.time()
        for connection in [*self._admitted]:
            connection.check_sending(now, timeout)
        self._timer = self._loop.call_later(timeout / _CHECKS_PER_TIMEOUT, self._check_sending)

    def pre_shutdown(self) -> None:
        """Close idle connections. The others close after their last response."""
        for connection in self._admitted:
            connection.close_gracefully()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """Wait for the last responses, and close every connection."""
        await super().shutdown(timeout)
        self._timer.cancel()
