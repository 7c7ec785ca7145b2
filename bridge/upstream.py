"""Connections to model servers: requests out, bytes in, and the border where foreign errors become ours.

    async with upstream.send(request, transport) as response:    UpstreamError, of what kind ever
        response.status, response.headers
        async for data in response: …                            whatever has arrived, as it arrives

Every wait has a limit of our own: see `patience`.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp

from bridge.bodies import joined
from bridge.border import ours
from bridge.connections import Connections, Stale
from bridge.credentials import Credentials
from bridge.sockets import Socket, Sockets
from bridge.trust import Contexts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bridge.connections import Arriving
    from bridge.routes.route import UpstreamRequest
    from bridge.routes.spec.transport import TimeoutsSpec, TransportSpec

__all__ = ["Response", "Upstream"]


class Upstream:
    """All connections to all servers, pooled by host."""

    def __init__(self) -> None:
        contexts = Contexts()
        self._pooled = Connections(contexts)
        self._fresh = Connections(contexts, fresh=True)
        self._sockets = Sockets(contexts)
        self._credentials = Credentials(self.fetch)

    async def close(self) -> None:
        """Close every connection."""
        await self._credentials.close()
        await self._sockets.close()
        await self._pooled.close()
        await self._fresh.close()

    @asynccontextmanager
    async def send(
        self, request: UpstreamRequest, transport: TransportSpec, *, replica: int = 0
    ) -> AsyncIterator[Response | Socket]:
        """Send a request and give its answer, whose connection is closed unless it was read to its end.

        Raises UpstreamError: no connection, no head in time, no HTTP.
        """
        url = request.urls[replica % len(request.urls)]
        begun = asyncio.get_running_loop().time()
        signed = await self._credentials.sign(request, url)
        if request.websocket is not None:
            async with self._sockets.opened(signed, transport, begun) as socket:
                if socket.status != 401 or request.auth is None or not request.auth.renews:
                    yield socket
                    return
            again = await self._credentials.sign(request, url, refused=signed)
            async with self._sockets.opened(again, transport, begun) as socket:
                yield socket
            return
        arriving = await self._answer(signed, transport, begun)
        if arriving.status == 401 and request.auth is not None and request.auth.renews:
            arriving.close()
            again = await self._credentials.sign(request, url, refused=signed)
            arriving = await self._answer(again, transport, begun)
        try:
            yield Response(arriving, transport.timeouts, url)
        finally:
            arriving.close()

    async def fetch(
        self, request: UpstreamRequest, transport: TransportSpec, limit: int, *, replica: int = 0
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The whole answer of a small call: status, headers, body. Raises UpstreamError."""
        async with self.send(request, transport, replica=replica) as response:
            return response.status, response.headers, await response.read(limit)

    async def _answer(self, request: UpstreamRequest, transport: TransportSpec, begun: float) -> Arriving:
        """The head of the answer to a request that has one URL. Raises UpstreamError."""
        (url,) = request.urls
        try:
            try:
                return await self._pooled.answer(request, url, transport, begun)
            except Stale:
                # The server closed an idle connection just as this request went out on it. Nothing of the
                # answer was seen, so a new connection is tried at once: another idle one may be as dead.
                return await self._fresh.answer(request, url, transport, begun)
        except Exception as error:
            raise ours(error, url, transport.timeouts) from error


class Response:
    """An answer that is arriving."""

    __slots__ = ("_arriving", "_timeouts", "_url", "headers", "status")

    def __init__(self, arriving: Arriving, timeouts: TimeoutsSpec, url: str) -> None:
        self._arriving = arriving
        self._timeouts = timeouts
        self._url = url
        self.status = arriving.status
        self.headers = arriving.headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises UpstreamError where it stalls or breaks."""
        try:
            while data := await self._arriving.some():
                yield data
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ours(error, self._url, self._timeouts) from error

    async def read(self, limit: int) -> bytes:
        """The whole body, of at most so many bytes. Raises UpstreamError."""
        return await joined(self, limit)

    async def drain(self, seconds: float) -> None:
        """Read what little may be left, so that the connection can be used again."""
        try:
            async with asyncio.timeout(seconds):
                while await self._arriving.some():
                    pass
        except (aiohttp.ClientError, OSError, TimeoutError):
            return
