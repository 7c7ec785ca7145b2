"""Lookups of host names, each in a thread of its own, so that a name whose lookup hangs delays no other name.

The threads for lookups of asyncio and uvloop are few: two names whose servers do not answer stop every
lookup, even of numeric addresses, which uvloop looks up when it connects. c-ares (aiodns) needs no threads,
but is one more binary dependency, and bypasses the system's `nsswitch.conf`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["Resolver"]

_MAX_LOOKUPS = 64  # at the same time; a lookup that hangs ends when the system gives up, after up to a minute
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

_Address: TypeAlias = tuple[socket.AddressFamily, str]


class Resolver(AbstractResolver):
    """The system's resolver. Requests for the same name share one lookup."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lookups: dict[tuple[str, int], asyncio.Future[list[_Address]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raise OSError or UnicodeError."""
        key = host, int(family)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = self._start(host, family)
            lookup.add_done_callback(partial(self._forget, key))
        return [
            ResolveResult(hostname=host, host=address, port=port, family=found, proto=0, flags=_NUMERIC)
            for found, address in await asyncio.shield(lookup)
        ]

    async def close(self) -> None:
        """Do nothing: lookups cannot be cancelled, and their threads do not keep the process alive."""

    def _forget(self, key: tuple[str, int], lookup: asyncio.Future[list[_Address]]) -> None:
        del self._lookups[key]
        if not lookup.cancelled():
            lookup.exception()  # may concern nobody any more, since all requests have timed out

    def _start(self, host: str, family: socket.AddressFamily) -> asyncio.Future[list[_Address]]:
        if len(self._lookups) >= _MAX_LOOKUPS:
            raise OSError(None, f"{_MAX_LOOKUPS} lookups of other names are still running")
        future: asyncio.Future[list[_Address]] = self._loop.create_future()

        def look_up() -> None:
            try:
                finish = partial(future.set_result, _addresses(host, family))
            except Exception as error:
                finish = partial(future.set_exception, error)
            with suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(finish)

        try:
            threading.Thread(target=look_up, name=f"lookup of {host}"[:100], daemon=True).start()
        except RuntimeError as error:
            raise OSError(None, f"no thread for a lookup: {error}") from error
        return future


def _addresses(host: str, family: socket.AddressFamily) -> list[_Address]:
    """Look up a name in the system, which blocks. Raise OSError or UnicodeError."""
    found = socket.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    # An address such as fe80::1 is complete only with its interface, which getnameinfo appends.
    return [(each, socket.getnameinfo(address, socket.NI_NUMERICHOST)[0]) for each, *_, address in found]
