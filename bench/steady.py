"""Whole answers asked for at a steady rate, by plain sockets: `select` has a finer timer than event loops.

The moment at which a request is due counts, not the one at which a connection was free for it: what waits
because the proxy is slow is late.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections import deque

__all__ = ["lateness"]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def lateness(port: int, data: bytes, count: int, per_second: float, seconds: float) -> list[float]:
    """How long after it was due each answer was there, in seconds; over `count` connections."""
    free = deque(socket.create_connection(("127.0.0.1", port)) for _ in range(count))
    for one in free:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    busy: dict[socket.socket, tuple[float, bytes]] = {}
    late: list[float] = []
    total, asked, begun = int(per_second * seconds), 0, time.monotonic() + 0.05
    while asked < total or busy:
        while free and asked < total and (due := begun + asked / per_second) <= time.monotonic():
            one = free.popleft()
            one.send(data)
            busy[one] = (due, b"")
            asked += 1
        wait = max(begun + asked / per_second - time.monotonic(), 0) if free and asked < total else 10
        for one in select.select(busy, [], [], wait)[0]:
            due, held = busy[one]
            held += (got := one.recv(1 << 16))
            if not got:
                raise SystemExit("a connection was closed where an answer was due")
            busy[one] = (due, held)
            if _is_whole(held):
                late.append(time.monotonic() - due)
                del busy[one]
                free.append(one)
    return late


def _is_whole(held: bytes) -> bool:
    head = held.find(b"\r\n\r\n")
    if head < 0:
        return False
    length = _LENGTH.search(held, 0, head + 2)
    return len(held) >= head + 4 + int(length[1]) if length else held.endswith(b"\r\n0\r\n\r\n")
