"""A session store in the memory of this process. The pool closes its sessions at shutdown."""

from __future__ import annotations

import time
from typing import NamedTuple

__all__ = ["MemoryStore"]


class _Entry(NamedTuple):
    value: bytes
    expires_at: float  # seconds of the monotonic clock


class MemoryStore:
    """Values in one dictionary per route."""

    def __init__(self) -> None:
        self._routes: dict[str, dict[str, _Entry]] = {}  # entries by route and key, oldest first

    async def pop(self, route: str, key: str) -> bytes | None:
        entries = self._routes.get(route, {})
        entry = entries.get(key)
        if entry is None or entry.expires_at <= time.monotonic():
            return None  # an expired value is left to `pop_expired`, whose caller closes the session
        del entries[key]
        return entry.value

    async def put(self, route: str, key: str, value: bytes, *, ttl: float, max_entries: int) -> list[bytes]:
        entries = self._routes.setdefault(route, {})
        # An assignment to an existing key would keep the old position, so the previous entry is removed.
        previous = entries.pop(key, None)
        displaced = [previous.value] if previous else []
        entries[key] = _Entry(value, time.monotonic() + ttl)
        while len(entries) > max_entries:
            displaced.append(entries.pop(next(iter(entries))).value)
        return displaced

    async def pop_expired(self, route: str) -> list[bytes]:
        entries = self._routes.get(route, {})
        now = time.monotonic()
        keys = [key for key, entry in entries.items() if entry.expires_at <= now]
        return [entries.pop(key).value for key in keys]

    async def close(self) -> dict[str, list[bytes]]:
        remaining = {
            route: [entry.value for entry in entries.values()] for route, entries in self._routes.items()
        }
        self._routes.clear()
        return remaining
