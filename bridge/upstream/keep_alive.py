"""The time that a silent connection to an upstream is kept, and is known to be alive.

A request that crosses the close by the upstream is lost, since requests are not sent twice. So the bridge
closes idle connections before the upstream does.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["announced_idle_timeout", "set_tcp_keepalive"]

_PROBES = 4
_MAX_IDLE_TIMEOUT = 60.0  # seconds, whatever the upstream announces
_TIMEOUT = re.compile(rb"(?:^|[,;\s])timeout\s*=\s*(\d{1,9})", re.IGNORECASE)


def announced_idle_timeout(header: bytes, default: float) -> float:
    """Return the time for a `Keep-Alive` header, such as `timeout=5, max=100`, else the default."""
    match = _TIMEOUT.search(header)
    if match is None:
        return default
    seconds = int(match[1])
    return min(max(seconds - 1.0, seconds / 2), _MAX_IDLE_TIMEOUT)


class _HasSocket(Protocol):
    def get_extra_info(self, name: str, default: Any = None) -> Any: ...


def set_tcp_keepalive(connection: _HasSocket, seconds: float) -> None:
    """Let TCP probe a silent connection after some seconds; with 0 never.

    Without probes, a connection to a host that has vanished seems to be open until something is sent, and
    firewalls forget silent connections after some minutes.
    """
    raw_socket = connection.get_extra_info("socket")
    if raw_socket is None:
        return
    with suppress(OSError):  # the upstream has reset the connection, which the request will notice
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(seconds > 0))
        if seconds > 0:
            for option, value in _tcp_options(max(1, round(seconds))):
                raw_socket.setsockopt(socket.IPPROTO_TCP, option, value)


def _tcp_options(seconds: int) -> Iterator[tuple[int, int]]:
    """Yield the options of probes that declare a connection dead after twice the silence."""
    values = {
        "TCP_KEEPIDLE": seconds,
        "TCP_KEEPALIVE": seconds,  # of macOS
        "TCP_KEEPINTVL": max(1, seconds // _PROBES),
        "TCP_KEEPCNT": _PROBES,
    }
    for name, value in values.items():
        if (option := getattr(socket, name, None)) is not None:
            yield option, value
