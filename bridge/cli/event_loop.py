"""uvloop's event loop, which needs no thread to connect to a numeric address.

uvloop looks up every address in libuv's threads when a socket connects, also a numeric one. Of these threads
two may be slow at a time: two lookups that hang, as of the name of a Redis, would stop all new connections.
"""

from __future__ import annotations

import socket
from typing import Any

import uvloop

__all__ = ["EventLoop"]


class EventLoop(uvloop.Loop):
    """An event loop."""

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the name in asyncio
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Return addresses as `socket.getaddrinfo` does, at once if the host is numeric."""
        numeric = flags | socket.AI_NUMERICHOST
        try:
            return socket.getaddrinfo(host, port, family, type, proto, numeric)
        except socket.gaierror:
            return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
