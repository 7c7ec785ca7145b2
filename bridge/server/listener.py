"""The server: listens, knows its clients' connections, and ends them in good order.

    server = Server(answer)
    await server.listen(socket)
    await server.close(seconds)      no new connections; those in use end with their replies, or are cut

Connections that nothing comes on are looked at now and then, all together: that costs a request nothing.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from bridge.server.http_protocol import HTTPProtocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.server.request import Request
    from bridge.server.response import Response

__all__ = ["HTTPListener"]

_TIMEOUT_CHECK_INTERVAL = 10.0  # seconds between two looks
_BACKLOG = 1024  # connections that wait to be accepted


class HTTPListener:
    """Answers the clients of one socket."""

    def __init__(self, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self.on_request = answer
        self._clients: set[HTTPProtocol] = set()
        self._empty = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._listening: asyncio.Server | None = None
        self._looking: asyncio.TimerHandle | None = None

    async def listen(self, listening: socket.socket) -> None:
        """Take connections from a socket that listens."""
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # what it accepts has the same
        self._listening = await self._loop.create_server(
            partial(HTTPProtocol, self), sock=listening, backlog=_BACKLOG
        )
        self._looking = self._loop.call_later(_TIMEOUT_CHECK_INTERVAL, self._check_timeouts)

    async def close(self, seconds: float) -> None:
        """Take no new connections, and end those that are: the idle ones at once, the others in time."""
        if self._looking is not None:
            self._looking.cancel()
        if self._listening is not None:
            self._listening.close()
        for client in self._clients:
            client.close_gracefully()
        if self._clients:
            self._empty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
        await asyncio.gather(*[client.abort() for client in self._clients])

    def connection_opened(self, client: HTTPProtocol) -> None:
        """A client has come."""
        self._clients.add(client)

    def connection_closed(self, client: HTTPProtocol) -> None:
        """It is gone."""
        self._clients.discard(client)
        if not self._clients:
            self._empty.set()

    def _check_timeouts(self) -> None:
        self._looking = self._loop.call_later(_TIMEOUT_CHECK_INTERVAL, self._check_timeouts)
        for client in self._clients:
            client.check_timeouts(_TIMEOUT_CHECK_INTERVAL)
