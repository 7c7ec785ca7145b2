"""File descriptors: the limit of the process, the connections that the limit allows, and unsent bytes."""

from __future__ import annotations

import logging
import resource
import sys
from array import array
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import TYPE_CHECKING

from bridge.telemetry.logging import log

if TYPE_CHECKING:
    import asyncio

__all__ = ["affordable_connections", "raise_descriptor_limit", "unsent_bytes"]

# Descriptors that clients cannot use up: listening sockets, logs, files, metrics, and the connections of the
# admin port, which must answer while the front is full.
_RESERVED = 128
_PER_CONNECTION = 2  # descriptors of a client's connection, and of the upstream connection of its request
_MACOS_MAX = 10240  # the largest soft limit of macOS, whose hard limit is unlimited


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard limit: the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (hard, _MACOS_MAX):
        if soft != resource.RLIM_INFINITY and (limit == resource.RLIM_INFINITY or limit > soft):
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                return


def affordable_connections(wanted: int) -> int:
    """Return the number of client connections that descriptors suffice for. Log if `wanted` is more."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    affordable = max(1, (soft - _RESERVED) // _PER_CONNECTION)
    if affordable < wanted:
        log(
            "fewer connections than configured: the limit of open files is too low", logging.WARNING,
            configured=wanted, connections=affordable, open_files=soft,
            required=wanted * _PER_CONNECTION + _RESERVED,
        )  # fmt: skip
    return affordable


def unsent_bytes(transport: asyncio.Transport) -> int:
    """Return the bytes that the system holds because the peer has not acknowledged them.

    The system accepts more bytes only after it has sent a third of up to several megabytes: a slow client is
    distinguished from one that reads nothing by this number alone.
    """
    size = array("i", [0])
    with suppress(AttributeError, OSError):  # closed, or not supported for sockets
        ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, size)
    return size[0]
