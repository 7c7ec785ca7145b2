"""Connections to model servers: requests out, bytes in, and the border where foreign errors become ours.

    response = await upstream.send(request, transport)       UpstreamError, of what kind ever
    response.status, response.headers
    await response.pump(take)                                take(data): whatever has arrived, as it arrives
    await response.close()

Every wait has a limit of our own: see `patience`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.upstream.auth import RequestAuthenticator
from bridge.upstream.connection_pool import ConnectionPool
from bridge.upstream.tls import SSLContextCache
from bridge.upstream.websocket import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.routes.rules.auth_rules import DynamicAuth
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.settings import TransportSpec
    from bridge.upstream.response import UpstreamResponse

__all__ = ["UpstreamClient"]


class UpstreamClient:
    """All connections to all servers, pooled by host."""

    def __init__(self) -> None:
        contexts = SSLContextCache()
        self._connections = ConnectionPool(contexts)
        self._sockets = WebSocketClient(contexts)
        self._credentials = RequestAuthenticator(self.fetch)
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Close every connection."""
        await self._credentials.close()
        await self._sockets.close()
        await self._connections.close()

    async def send(
        self, request: UpstreamRequest, transport: TransportSpec, *, replica: int = 0
    ) -> UpstreamResponse:
        """Send a request and give its answer, which is to be closed.

        Raises UpstreamError: no connection, no head in time, no HTTP.
        """
        url = request.urls[replica % len(request.urls)]
        if request.auth is None:
            return await self._send(request, url, transport, self._loop.time())
        return await self._send_signed(request, url, transport, request.auth)

    async def _send_signed(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, auth: DynamicAuth
    ) -> UpstreamResponse:
        """The same with a credential that is made for it, anew where the server refuses that."""
        begun = self._loop.time()
        signed = await self._credentials.sign(request, url)
        response = await self._send(signed, signed.urls[0], transport, begun)
        if response.status != 401 or not auth.refreshes_on_401:
            return response
        await response.close()
        again = await self._credentials.sign(request, url, refused=signed)
        return await self._send(again, again.urls[0], transport, begun)

    async def fetch(
        self, request: UpstreamRequest, transport: TransportSpec, limit: int, *, replica: int = 0
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The whole answer of a small call: status, headers, body. Raises UpstreamError."""
        response = await self.send(request, transport, replica=replica)
        try:
            return response.status, response.headers, await response.read(limit)
        finally:
            await response.close()

    async def _send(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, begun: float
    ) -> UpstreamResponse:
        """The answer of one URL, whose head has come. Raises UpstreamError."""
        if request.websocket_limit is not None:
            return await self._sockets.open(request, url, transport, begun)
        return await self._connections.request(request, url, transport, begun)
