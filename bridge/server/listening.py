"""The listening sockets of a port: which addresses a text names, and who reaches them.

bind(":8080")                     every interface, by IPv4 and IPv6 where the system can
bind("127.0.0.1:8080,[::1]:8080")
bind(["localhost:0"])             each address of the name, with one free port
"""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING

from bridge.core.addresses import Address, parse_addresses
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["BACKLOG", "bind", "socket_url", "warn_if_open"]

BACKLOG = 1024  # connections that wait to be accepted
_EVERY_HOST = ("", "::")
_SKIPPED = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # a name may have addresses that the system has not


def bind(addresses: str | Iterable[str]) -> list[socket.socket]:
    """Return sockets that listen on HOST:PORT,…; port 0 takes a free one. Raise OSError or ValueError."""
    texts = [addresses] if isinstance(addresses, str) else addresses
    return [listening for text in texts for address in parse_addresses(text) for listening in _bind(address)]


def _bind(address: Address) -> list[socket.socket]:
    host, port = address
    try:
        if host in _EVERY_HOST and socket.has_dualstack_ipv6():
            return [
                socket.create_server(
                    ("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
                )
            ]
        return _bind_each(host or "0.0.0.0", port)  # noqa: S104 - `:8080` means every interface
    except OSError as error:
        in_use = "the address is in use by another program: choose another port, or stop the other program"
        reason = in_use if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise OSError(f"cannot listen on {_text(address)}: {reason}") from None


def _bind_each(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of a name, all with the same port. Raise OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, _, _, _, (numeric, *_) in dict.fromkeys(found):
        port = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(socket.create_server((str(numeric), port), family=family, backlog=BACKLOG))
        except OSError as error:
            failure = error
            if error.errno not in _SKIPPED:
                break
    if failure is not None and (not sockets or failure.errno not in _SKIPPED):
        raise failure
    return sockets


def _text(address: Address) -> str:
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def socket_url(listening: socket.socket) -> str:
    """Return the URL that a listening socket is reached by."""
    return f"http://{_text(Address(*listening.getsockname()[:2]))}"


def warn_if_open(sockets: Sequence[socket.socket]) -> None:
    """Log each socket that other machines reach."""
    for listening in sockets:
        address = Address(*listening.getsockname()[:2])
        if not address.is_loopback:
            log(
                "clients of other machines are accepted, and no key is required: set `server.keys`",
                logging.WARNING,
                address=_text(address),
            )
