"""Requests at a steady rate, by plain sockets: `select` has a finer timer than event loops.

A delay counts from the moment at which a request is due, not from the moment at which a connection is free
for the request: a slow proxy must not slow the load down.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections import deque

__all__ = ["delays"]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TEXT = re.compile(rb"t\d{19}e")
_AHEAD = 0.05  # seconds before the first request is due


def delays(
    port: int, data: bytes, count: int, per_second: float, seconds: float, *, first: bool = False
) -> list[float]:
    """Return the delay of each response, or of its first token, in seconds, over `count` connections."""
    free = deque(socket.create_connection(("127.0.0.1", port)) for _ in range(count))
    for connection in free:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    busy: dict[socket.socket, _Response] = {}
    taken: list[float] = []
    total, sent, began = int(per_second * seconds), 0, time.monotonic() + _AHEAD
    while sent < total or busy:
        while free and sent < total and (due := began + sent / per_second) <= time.monotonic():
            connection = free.popleft()
            connection.send(data)
            busy[connection] = _Response(due)
            sent += 1
        wait = max(began + sent / per_second - time.monotonic(), 0) if free and sent < total else 10
        for connection in select.select(busy, [], [], wait)[0]:
            response = busy[connection]
            response.receive(connection)
            if response.complete():
                taken.append(response.first if first else time.monotonic() - response.due)
                free.append(connection)
                del busy[connection]
    for connection in free:
        connection.close()
    return taken


class _Response:
    """A response that is being received."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.first = 0.0  # seconds from then to the first token
        self._received = b""

    def receive(self, connection: socket.socket) -> None:
        data = connection.recv(1 << 16)
        if not data:
            raise SystemExit("a connection was closed before its response")
        self._received += data
        if not self.first and _TEXT.search(self._received):
            self.first = time.monotonic() - self.due

    def complete(self) -> bool:
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return False
        length = _LENGTH.search(self._received, 0, head + 2)
        if length is None:
            return self._received.endswith(b"\r\n0\r\n\r\n")
        return len(self._received) >= head + 4 + int(length[1])
