"""Sessions of model servers that are kept for the next turn of their conversation.

    find(route, key) ─▶ the session, which nobody else finds then      keep(route, key, session)

Bounded in count and idle time; what falls out is closed at its server, and nobody waits for that. A store
that cannot be reached costs a fresh session, never an answer: that is logged and counted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.core import json
from bridge.core.errors import BridgeError, UpstreamError
from bridge.exchange.callout_request import close_request
from bridge.exchange.commands import StoredSession
from bridge.sessions.memory import MemoryStore
from bridge.sessions.store import StoreUnavailable
from bridge.tasks import TaskRegistry
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.routes.rules.route import Route
    from bridge.sessions.store import SessionStore
    from bridge.telemetry.metrics import Metrics
    from bridge.upstream.client import UpstreamClient

__all__ = ["SessionPool"]

_LARGEST = 2**20  # bytes of a closing call's answer
_SWEEP = 5.0  # seconds between two looks for sessions that have idled too long, at most
_AT_ONCE = 32  # closing calls
_PATIENCE = 5.0  # seconds for one of them, and at shutdown twice for all


class SessionPool:
    """The sessions that are kept, of all routes."""

    def __init__(self, upstream: UpstreamClient, metrics: Metrics) -> None:
        self._upstream = upstream
        self._metrics = metrics
        self._stores: dict[str, SessionStore] = {}
        self._routes: dict[str, Route] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._tasks = TaskRegistry()
        self._close_slots = asyncio.Semaphore(_AT_ONCE)

    async def acquire(self, route: Route, key: str) -> StoredSession | None:
        """Take the session kept under a key; None: a fresh one is needed."""
        try:
            return _read(await self._store(route).pop(route.name, key))
        except StoreUnavailable as error:
            self._store_unavailable(route, error)
            return None

    async def release(self, route: Route, key: str, session: StoredSession) -> None:
        """Keep a session; those that have to make room for it are closed."""
        kept = route.callouts.session
        assert kept is not None
        try:
            value = json.dumps(session._asdict())
            out = await self._store(route).put(route.name, key, value, ttl=kept.ttl, most=kept.max_kept)
        except StoreUnavailable as error:
            self._store_unavailable(route, error)
            self._tasks.start(self._close(route, session))
        else:
            self._close_all(route, out)

    async def close(self) -> None:
        """Close all sessions that nobody else could find again."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._tasks.wait(_PATIENCE)
        for store in self._stores.values():
            for name, values in (await store.close()).items():
                self._close_all(self._routes[name], values)
        await self._tasks.wait(_PATIENCE)
        self._tasks.cancel()

    def _store(self, route: Route) -> SessionStore:
        session = route.callouts.session
        assert session is not None
        self._routes[route.name] = route
        if self._sweeping is None:
            self._sweeping = asyncio.ensure_future(self._sweep())
        if session.store not in self._stores:
            self._stores[session.store] = (
                MemoryStore() if session.store == "memory" else _redis(session.store)
            )
        return self._stores[session.store]

    async def _sweep(self) -> None:
        """Close what has idled too long, now and then."""
        while True:
            kept = [
                (route, route.callouts.session) for route in self._routes.values() if route.callouts.session
            ]
            await asyncio.sleep(min([_SWEEP, *(session.ttl / 2 for _, session in kept)]))
            for route, session in kept:
                # Not to be cut short at shutdown: what is taken out of a store has to be closed.
                await asyncio.shield(self._tasks.start(self._expire(route, self._stores[session.store])))

    async def _expire(self, route: Route, store: SessionStore) -> None:
        try:
            while values := await store.pop_expired(route.name):
                self._close_all(route, values)
        except StoreUnavailable as error:
            self._store_unavailable(route, error)

    def _close_all(self, route: Route, values: Iterable[bytes]) -> None:
        for value in values:
            if (session := _read(value)) is not None:
                self._tasks.start(self._close(route, session))

    async def _close(self, route: Route, session: StoredSession) -> None:
        try:
            request = close_request(route, session)
            if request is None:
                return
            async with self._close_slots, asyncio.timeout(_PATIENCE):
                status, _, _ = await self._upstream.fetch(
                    request, route.transport, _LARGEST, replica=session.replica
                )
            if status >= 300:
                log("session not closed", 30, route=route.name, status=status)
        except TimeoutError:
            log("session not closed", 30, route=route.name, error=f"no answer in {_PATIENCE:g} s")
        except BridgeError as error:
            if isinstance(error, UpstreamError):
                self._metrics.upstream_failed(route.name, error.kind)
            log("session not closed", 30, route=route.name, error=route.mask(error.message))

    def _store_unavailable(self, route: Route, error: StoreUnavailable) -> None:
        self._metrics.store_failed(route.name)
        log("session store lost", 30, route=route.name, error=str(error))


def _redis(url: str) -> SessionStore:
    from bridge.sessions.redis_store import RedisStore  # its library costs start and memory, which few need

    return RedisStore(url)


def _read(value: bytes | None) -> StoredSession | None:
    """A kept session as it was written; None for what a stranger wrote."""
    if value is None:
        return None
    try:
        match json.loads(value):
            case {"id": id, "replica": int(replica), "members": dict(members)}:
                return StoredSession(id, replica, members)
    except ValueError:
        pass
    return None
