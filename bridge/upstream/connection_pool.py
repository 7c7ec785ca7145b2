"""The HTTP connections to all upstreams, kept between requests.

    response = await pool.request(request, url, transport, started)     the head has arrived
    await response.close()                                              the connection is idle, or closed

aiohttp's connector makes the connections, with its DNS, TLS and proxies. HTTP on them is `HTTPConnection`'s:
aiohttp's ClientSession costs 228 thousand instructions a request, these modules 84 (bench/RESULTS.md).
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from bridge.core.errors import BridgeError, UpstreamError
from bridge.telemetry.logging import log
from bridge.upstream.errors import NETWORK_ERRORS, out_of_descriptors, to_upstream_error
from bridge.upstream.http_connection import HTTPConnection
from bridge.upstream.keep_alive import set_tcp_keepalive
from bridge.upstream.origin import Origin, connector_key
from bridge.upstream.request_head import request_head, split_url
from bridge.upstream.response import UpstreamResponse
from bridge.upstream.response_parser import ResponseState

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.transport import TimeoutsSpec, TransportSpec
    from bridge.upstream.resolver import Resolver
    from bridge.upstream.response import ByteSink
    from bridge.upstream.tls import SSLContextCache

__all__ = ["ConnectionPool"]

_MAX_TARGETS = 1000  # URLs that are remembered, since templates may make URLs without end
_MAX_CACHED_URL = 2048  # characters; a client's text may be a part of a longer URL
_DNS_CACHE_TIME = 30  # seconds
_SHORTEST_TIMEOUT = 0.001  # seconds; aiohttp takes 0 for no timeout
_SWEEP_INTERVAL = 5.0  # seconds between two searches for expired connections


class ConnectionPool:
    """The connections to all upstreams, by origin."""

    def __init__(self, contexts: SSLContextCache, resolver: Resolver) -> None:
        self._contexts = contexts
        self._loop = asyncio.get_running_loop()
        self._connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=_DNS_CACHE_TIME, resolver=resolver)
        self._origins: dict[tuple[object, ...], Origin] = {}
        self._targets: dict[tuple[str, TransportSpec], tuple[Origin, str]] = {}
        self._connections: set[HTTPConnection] = set()  # idle or in use
        self._sweep_timer: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for connection in self._connections:
            connection.close()
        await self._connector.close()

    async def request(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, started: float
    ) -> HTTPResponse:
        """Send a request. Return its response, whose head has arrived. Raise UpstreamError."""
        origin, target = self._targets.get((url, transport)) or self._resolve(url, transport)
        connection = self._pop_idle(origin) or await self._connect(origin, url, transport, started)
        head = request_head(request, target, origin.default_headers)
        try:
            await connection.send(head, request.body or b"", url, transport.timeouts, started)
            response = connection.response
            if response.error is not None and not response.status:
                raise response.error
        except BaseException:
            # The request is not sent again, even where an idle connection was closed at the moment of the
            # request: the upstream may have received the request, and a generation is paid twice then.
            self.release(connection)
            raise
        return HTTPResponse(connection, self)

    def release(self, connection: HTTPConnection) -> None:
        """Take a connection back."""
        if not connection.release():
            self._connections.discard(connection)
            return
        connection.origin.idle.append(connection)
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(_SWEEP_INTERVAL, self._close_expired)

    def _pop_idle(self, origin: Origin) -> HTTPConnection | None:
        """Return the connection that was used last, so that connections that are not needed expire."""
        while origin.idle:
            connection = origin.idle.pop()
            if connection.is_fresh:
                return connection
            connection.close()
            self._connections.discard(connection)
        return None

    async def _connect(
        self, origin: Origin, url: str, transport: TransportSpec, started: float
    ) -> HTTPConnection:
        key = origin.key
        if key.ssl is not self._contexts.get(transport.tls, key.url, key.proxy):  # a certificate was renewed
            key = origin.key = connector_key(key.url, transport, self._contexts)
        try:
            handle, socket_transport = await self._open(key, transport.timeouts, started)
        except NETWORK_ERRORS as error:
            if out_of_descriptors(error):
                raise _no_descriptor_left() from error
            self._forget_address(key)
            failure = to_upstream_error(error, url, transport.timeouts)
            if "connect" not in failure.causes:  # nothing was sent, however the connection ended
                failure.causes = ("connect", *failure.causes)
            raise failure from error
        set_tcp_keepalive(socket_transport, transport.connections.keepalive)
        connection = HTTPConnection(handle, socket_transport, origin, transport.connections)
        self._connections.add(connection)
        return connection

    async def _open(
        self, key: ClientRequest, timeouts: TimeoutsSpec, started: float
    ) -> tuple[Connection, asyncio.Transport]:
        """Open a connection. Raise one of NETWORK_ERRORS."""
        remaining = math.inf if timeouts.total is None else started + timeouts.total - self._loop.time()
        seconds = min(timeouts.connect, max(remaining, _SHORTEST_TIMEOUT))
        try:
            timeout = aiohttp.ClientTimeout(connect=seconds, sock_connect=seconds)
            handle = await self._connector.connect(key, [], timeout)
        except TimeoutError as error:
            if remaining < timeouts.connect:
                raise TimeoutError(f"the response took more than {timeouts.total:g} s") from error
            raise aiohttp.ConnectionTimeoutError from error
        transport, protocol = handle.transport, handle.protocol
        if (
            transport is None
            or protocol is None
            or protocol.should_close  # bytes arrived before any request was sent
            or transport.is_closing()
        ):
            handle.close()
            raise aiohttp.ServerDisconnectedError
        return handle, transport

    def _forget_address(self, key: ClientRequest) -> None:
        """Look a name up again for the next connection: the name may lead elsewhere by now."""
        reached = key.proxy or key.url
        self._connector.clear_dns_cache(reached.raw_host, reached.port)

    def _close_expired(self) -> None:
        """Close connections that have idled too long, and forget those that the upstream has closed."""
        now = self._loop.time()
        origins = self._origins_in_use()
        for origin in origins:
            for connection in origin.idle:
                if connection.idle_until <= now or not connection.is_reusable:
                    connection.close()
                    self._connections.discard(connection)
            origin.idle = [connection for connection in origin.idle if connection in self._connections]
        any_idle = any(origin.idle for origin in origins)
        self._sweep_timer = self._loop.call_later(_SWEEP_INTERVAL, self._close_expired) if any_idle else None

    def _origins_in_use(self) -> set[Origin]:
        return {connection.origin for connection in self._connections}

    def _resolve(self, url: str, transport: TransportSpec) -> tuple[Origin, str]:
        """Return the origin of a URL and the target of its request line. Raise UpstreamError."""
        if len(self._targets) >= _MAX_TARGETS:
            self._targets.clear()
            used = self._origins_in_use()
            self._origins = {key: origin for key, origin in self._origins.items() if origin in used}
        base, target = split_url(url)
        key = (base, transport.tls, transport.proxy)
        origin = self._origins.get(key)
        if origin is None:
            try:
                origin = Origin(connector_key(URL(base, encoded=True), transport, self._contexts))
            except ValueError as error:
                raise to_upstream_error(aiohttp.InvalidURL(base), url, transport.timeouts) from error
            self._origins[key] = origin
        resolved = origin, url if origin.needs_absolute_target else target
        if len(url) <= _MAX_CACHED_URL:
            self._targets[url, transport] = resolved
        return resolved


def _no_descriptor_left() -> BridgeError:
    """Log that the bridge cannot open a connection. Return the error for the client."""
    message = "the bridge has no file descriptor left for a connection to the upstream"
    log("no descriptor left: raise the limit of open files (ulimit -n)", logging.ERROR)
    return BridgeError(503, message, code="no_descriptor_left", retry_after="1")


class HTTPResponse(UpstreamResponse):
    """A response whose body is arriving on a connection."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, connection: HTTPConnection, pool: ConnectionPool) -> None:
        self._connection = connection
        self._pool = pool
        self.status = connection.response.status
        self.headers = connection.response.headers

    @property
    def complete(self) -> bool:
        response = self._connection.response
        return response.state is ResponseState.COMPLETE and not response.body

    def read_into(self, sink: ByteSink) -> Coroutine[Any, Any, None]:
        return self._connection.read_into(sink)

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109
        if self.complete:
            return
        try:
            async with asyncio.timeout(timeout):
                await self.read_into(_Discard())
        except (UpstreamError, TimeoutError):
            return

    async def close(self) -> None:
        self._pool.release(self._connection)


class _Discard:
    """A sink that drops what it receives."""

    __slots__ = ()

    def feed(self, data: bytes) -> bool:
        return True
