"""Requests to upstreams, over HTTP or WebSockets, authenticated as their route requires.

    response = await client.send(request, transport)         the head has arrived; raises UpstreamError
    await response.read_into(sink)                           see `UpstreamResponse`
    await response.close()

Every wait has a timeout: see `timeouts`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.upstream.auth import RequestAuthenticator
from bridge.upstream.connection_pool import ConnectionPool
from bridge.upstream.resolver import Resolver
from bridge.upstream.tls import SSLContextCache
from bridge.upstream.websocket import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from bridge.routes.rules.auth_rules import DynamicAuth
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.transport import TransportSpec
    from bridge.upstream.response import UpstreamResponse

__all__ = ["UpstreamClient"]


class UpstreamClient:
    """The connections to all upstreams."""

    def __init__(self) -> None:
        contexts = SSLContextCache()
        resolver = Resolver()
        self._pool = ConnectionPool(contexts, resolver)
        self._websockets = WebSocketClient(contexts, resolver)
        self._authenticator = RequestAuthenticator(self.fetch)
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Close every connection."""
        await self._authenticator.close()
        await self._websockets.close()
        await self._pool.close()

    def send(
        self,
        request: UpstreamRequest,
        transport: TransportSpec,
        *,
        replica: int = 0,
        started: float | None = None,
    ) -> Awaitable[UpstreamResponse]:
        """Send a request. Return its response, which the caller closes. Raise UpstreamError.

        `timeouts.total` counts from `started`, in seconds of the loop's clock; None: from now.
        """
        url = request.urls[replica % len(request.urls)]
        if started is None:
            started = self._loop.time()
        if request.auth is None:
            return self._send(request, url, transport, started)
        return self._send_signed(request, url, transport, request.auth, started)

    async def fetch(
        self, request: UpstreamRequest, transport: TransportSpec, limit: int, *, replica: int = 0
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of a response of up to `limit` bytes. Raise UpstreamError."""
        response = await self.send(request, transport, replica=replica)
        try:
            return response.status, response.headers, await response.read(limit)
        finally:
            await response.close()

    async def _send_signed(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, auth: DynamicAuth, started: float
    ) -> UpstreamResponse:
        """Sign the request and send it. On a 401, sign it again with fresh credentials and retry once."""
        signed = await self._authenticator.sign(request, url)
        response = await self._send(signed, signed.urls[0], transport, started)
        if response.status != 401 or not auth.refreshes_on_401:
            return response
        try:
            fresh = await self._authenticator.sign(request, url, rejected=signed)
        except BaseException:
            await response.close()
            raise
        if fresh.headers == signed.headers and fresh.urls == signed.urls:
            return response  # the credential cannot be newer: the upstream would reject the request again
        await response.close()
        return await self._send(fresh, fresh.urls[0], transport, started)

    def _send(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, started: float
    ) -> Awaitable[UpstreamResponse]:
        if request.websocket_limit is not None:
            return self._websockets.open(request, url, transport, started)
        return self._pool.request(request, url, transport, started)
