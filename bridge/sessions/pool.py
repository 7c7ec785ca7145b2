"""Upstream sessions that are kept for the next turn of a conversation.

A pool is bounded in count and idle time. Sessions over a bound are closed at the upstream in the background,
so no request waits for a closing call. If a store is unavailable, the bridge logs and counts the failure and
opens a fresh session; the request itself does not fail.
"""

from __future__ import annotations

import asyncio
import logging
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

_MAX_CLOSE_RESPONSE = 2**20  # bytes of the body of the response to a closing call
_MAX_SWEEP_INTERVAL = 5.0  # seconds between two checks for expired sessions
_MAX_CLOSE_CALLS = 32  # closing calls that run at the same time
_CLOSE_TIMEOUT = 5.0  # seconds for a closing call, and for each of the two waits at shutdown


class SessionPool:
    """The kept sessions of all routes."""

    def __init__(self, upstream: UpstreamClient, metrics: Metrics) -> None:
        self._upstream = upstream
        self._metrics = metrics
        self._stores: dict[str, SessionStore] = {}  # by `session.store`: "memory", or a URL of Redis
        self._routes: dict[str, Route] = {}  # by name, in the version of the last use
        self._expiry_task: asyncio.Task[None] | None = None  # started by the first use of a store
        self._tasks = TaskRegistry()  # closing calls and sweeps
        self._close_slots = asyncio.Semaphore(_MAX_CLOSE_CALLS)

    async def acquire(self, route: Route, key: str) -> StoredSession | None:
        """Remove and return the session of a key; None if the caller has to open a session."""
        try:
            return _decode(await self._store(route).pop(route.name, key))
        except StoreUnavailable as error:
            self._record_unavailable(route, error)
            return None

    async def release(self, route: Route, key: str, session: StoredSession) -> None:
        """Store a session under a key, and close the sessions that the session displaces."""
        rule = route.callouts.session
        assert rule is not None
        try:
            value = json.dumps(session._asdict())
            displaced = await self._store(route).put(
                route.name, key, value, ttl=rule.ttl, max_entries=rule.max_kept
            )
        except StoreUnavailable as error:
            self._record_unavailable(route, error)
            self._tasks.start(self._close(route, session))
        else:
            self._close_all(route, displaced)

    async def close(self) -> None:
        """Close the stores, and the sessions that no bridge can retrieve afterwards."""
        if self._expiry_task is not None:
            self._expiry_task.cancel()
        await self._tasks.wait(_CLOSE_TIMEOUT)
        for store in self._stores.values():
            for name, values in (await store.close()).items():
                self._close_all(self._routes[name], values)
        await self._tasks.wait(_CLOSE_TIMEOUT)
        self._tasks.cancel()

    def _store(self, route: Route) -> SessionStore:
        """Return the store of a route. Create the store and start the sweeper on first use."""
        rule = route.callouts.session
        assert rule is not None
        self._routes[route.name] = route
        if self._expiry_task is None:
            self._expiry_task = asyncio.ensure_future(self._expire_periodically())
        if rule.store not in self._stores:
            self._stores[rule.store] = MemoryStore() if rule.store == "memory" else _redis_store(rule.store)
        return self._stores[rule.store]

    async def _expire_periodically(self) -> None:
        """Close expired sessions periodically."""
        while True:
            rules = [
                (route, route.callouts.session) for route in self._routes.values() if route.callouts.session
            ]
            # Half of a ttl limits the idle time of a session to about 1.5 ttl.
            await asyncio.sleep(min([_MAX_SWEEP_INTERVAL, *(rule.ttl / 2 for _, rule in rules)]))
            for route, rule in rules:
                # Shielded from the cancellation at shutdown: a session that was removed from its store must
                # still be closed.
                await asyncio.shield(self._tasks.start(self._close_expired(route, self._stores[rule.store])))

    async def _close_expired(self, route: Route, store: SessionStore) -> None:
        try:
            while values := await store.pop_expired(route.name):
                self._close_all(route, values)
        except StoreUnavailable as error:
            self._record_unavailable(route, error)

    def _close_all(self, route: Route, values: Iterable[bytes]) -> None:
        for value in values:
            if (session := _decode(value)) is not None:
                self._tasks.start(self._close(route, session))

    async def _close(self, route: Route, session: StoredSession) -> None:
        """Send the closing call of a session, if the route has a closing call. Log a failure."""
        try:
            request = close_request(route, session)
            if request is None:
                return
            async with self._close_slots, asyncio.timeout(_CLOSE_TIMEOUT):
                status, _, _ = await self._upstream.fetch(
                    request, route.transport, _MAX_CLOSE_RESPONSE, replica=session.replica
                )
            if status >= 300:
                log("session not closed", logging.WARNING, route=route.name, status=status)
        except TimeoutError:
            message = f"the upstream did not respond within {_CLOSE_TIMEOUT:g} s"
            log("session not closed", logging.WARNING, route=route.name, error=message)
        except BridgeError as error:
            if isinstance(error, UpstreamError):
                self._metrics.upstream_failed(route.name, error.kind)
            log("session not closed", logging.WARNING, route=route.name, error=route.mask(error.message))

    def _record_unavailable(self, route: Route, error: StoreUnavailable) -> None:
        self._metrics.store_failed(route.name)
        log("session store unavailable", logging.WARNING, route=route.name, error=str(error))


def _redis_store(url: str) -> SessionStore:
    # Imported on first use: the redis package adds start-up time and memory, and few deployments use Redis.
    from bridge.sessions.redis_store import RedisStore

    return RedisStore(url)


def _decode(value: bytes | None) -> StoredSession | None:
    """Return the session of a stored value; None for a missing or an invalid value."""
    if value is None:
        return None
    try:
        match json.loads(value):
            case {"id": session_id, "replica": int(replica), "members": dict(members)}:
                return StoredSession(session_id, replica, members)
    except ValueError:
        pass  # other programs may write to Redis too
    return None
