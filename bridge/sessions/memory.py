"""Sessions kept in this process: gone with it, and closed before."""

from __future__ import annotations

import time
from typing import NamedTuple

__all__ = ["MemoryStore"]


class _Entry(NamedTuple):
    value: bytes
    until: float


class MemoryStore:
    """Values in dictionaries, whose order is that in which they were kept."""

    def __init__(self) -> None:
        self._routes: dict[str, dict[str, _Entry]] = {}

    async def pop(self, route: str, key: str) -> bytes | None:
        entries = self._routes.get(route, {})
        entry = entries.get(key)
        if entry is None or entry.until <= time.monotonic():
            return None  # the sweep closes it
        del entries[key]
        return entry.value

    async def put(self, route: str, key: str, value: bytes, *, ttl: float, most: int) -> list[bytes]:
        entries = self._routes.setdefault(route, {})
        displaced = entries.pop(key, None)
        out = [displaced.value] if displaced else []
        entries[key] = _Entry(value, time.monotonic() + ttl)
        while len(entries) > most:
            out.append(entries.pop(next(iter(entries))).value)
        return out

    async def pop_expired(self, route: str) -> list[bytes]:
        entries = self._routes.get(route, {})
        now = time.monotonic()
        keys = [key for key, entry in entries.items() if entry.until <= now]
        return [entries.pop(key).value for key in keys]

    async def close(self) -> dict[str, list[bytes]]:
        left = {route: [entry.value for entry in entries.values()] for route, entries in self._routes.items()}
        self._routes.clear()
        return left
