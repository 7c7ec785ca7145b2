"""All connections to model servers, kept between answers by where they lead.

    response = await connections.answer(request, url, transport, begun)     an answer, whose head has come
    await response.close()                                                  it is over, or not wanted any more

aiohttp's connector makes them, with its DNS, TLS and proxies; what goes over them is ours (`wires`). Tested
with the aiohttp that pyproject.toml names.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from yarl import URL

from bridge.core.errors import UpstreamError
from bridge.upstream.errors import to_upstream_error
from bridge.upstream.http_connection import HTTPConnection
from bridge.upstream.response import UpstreamResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.settings import TransportSpec
    from bridge.upstream.response import ByteSink
    from bridge.upstream.tls import SSLContextCache

__all__ = ["ConnectionPool"]

_MAX_TARGETS = 1000  # known at most; more are URLs that requests fill in, and are looked at anew
_MAX_CACHED_URL = 2048  # characters; a client's text may be a part of a longer URL
_MAX_CACHED_HEADS = 16  # kept of each: those of routes whose headers do not differ from request to request
_KEEPALIVE_EXPIRY = 15.0  # seconds that a connection is kept: many servers close theirs after 20 or more
_SWEEP = 5.0  # seconds between two looks for those that have idled too long


class _Origin:
    """Where connections lead. `prepared` is what aiohttp's connector and proxies want to know of it."""

    __slots__ = ("idle", "prepared")

    def __init__(self, prepared: ClientRequest) -> None:
        self.prepared = prepared
        self.idle: list[tuple[HTTPConnection, float]] = []


class _RequestTarget:
    """One URL as it is asked: the request line's target, and the heads of requests that were made for it."""

    __slots__ = ("_absolute", "_heads", "_target", "origin", "transport")

    def __init__(self, url: str, at: int, origin: _Origin, transport: TransportSpec) -> None:
        self.origin = origin
        self.transport = transport
        # A proxy wants the whole URL in the request line.
        self._absolute = transport.proxy is not None and origin.prepared.url.scheme == "http"
        target = url if self._absolute else url[at:].partition("#")[0]
        self._target = target if target.startswith(("/", "http")) else f"/{target}"
        self._heads: dict[int, tuple[Mapping[str, str], bytes]] = {}

    def head(self, request: UpstreamRequest) -> bytes:
        """The request line and headers. Headers that are the same object as before were written before."""
        headers, body = request.headers, request.body
        known, head = self._heads.get(id(headers), _UNKNOWN)
        if known is not headers:
            head = self._written(request).encode()
            if len(self._heads) >= _MAX_CACHED_HEADS:
                self._heads.clear()
            self._heads[id(headers)] = (headers, head)
        if self._absolute:  # the connector learns the proxy's key on its way
            key = self.origin.prepared.headers.get("Proxy-Authorization")
            head += f"Proxy-Authorization: {key}\r\n".encode() if key else b""
        if body is None and request.method == "GET":
            return head + b"\r\n"
        return b"%bContent-Length: %d\r\n\r\n" % (head, len(body) if body else 0)

    def _written(self, request: UpstreamRequest) -> str:
        """All but what differs from request to request. Values were checked for line breaks when made."""
        prepared = self.origin.prepared.headers
        own = {"Host": prepared["Host"], "User-Agent": "bridge"}
        if key := prepared.get("Authorization"):  # of a URL such as http://user:password@host
            own["Authorization"] = key
        named = {name.lower() for name in request.headers}
        headers = {name: value for name, value in own.items() if name.lower() not in named}
        lines = [f"{name}: {value}\r\n" for name, value in (headers | dict(request.headers)).items()]
        return f"{request.method} {self._target} HTTP/1.1\r\n{''.join(lines)}"


_UNKNOWN: tuple[None, bytes] = (None, b"")


class ConnectionPool:
    """All connections to all servers."""

    def __init__(self, contexts: SSLContextCache) -> None:
        self._contexts = contexts
        self._loop = asyncio.get_running_loop()
        self._connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=30)
        self._origins: dict[tuple[object, ...], _Origin] = {}
        self._places: dict[tuple[str, int], _RequestTarget] = {}
        self._origins_by_connection: dict[HTTPConnection, _Origin] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for wire in list(self._origins_by_connection):
            wire.close()
        await self._connector.close()

    async def request(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, begun: float
    ) -> HTTPResponse:
        """Send a request; its answer, whose head has come. Raises UpstreamError."""
        wire: HTTPConnection | None = None
        try:
            place = self._places.get((url, id(transport)))
            if place is None or place.transport is not transport:
                place = self._target_for(url, transport)
            wire = self._pop_idle(place.origin)
            while True:
                if wire is None:
                    wire = await self._connect(place.origin, transport)
                wire.send(place.head(request), request.body or b"", url, transport.timeouts, begun)
                await wire.wait_headers()
                if wire.status:
                    return HTTPResponse(wire, self)
                assert wire.error is not None
                if (
                    wire.never_used
                    or wire.response_started
                    or not isinstance(wire.error, aiohttp.ServerDisconnectedError)
                ):
                    raise wire.error
                # The server closed an idle connection just as this request went out on it. Nothing of the
                # answer was seen, so a new one is tried at once: another idle one may be as dead.
                self.release(wire)
                wire = None
        except BaseException as error:
            if wire is not None:
                self.release(wire)
            if isinstance(error, UpstreamError) or not isinstance(error, Exception):
                raise
            raise to_upstream_error(error, url, transport.timeouts) from error

    def release(self, wire: HTTPConnection) -> None:
        """Take a connection back."""
        if not wire.release():
            self._origins_by_connection.pop(wire, None)
            return
        self._origins_by_connection[wire].idle.append((wire, self._loop.time()))
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(_SWEEP, self._close_expired)

    def _pop_idle(self, origin: _Origin) -> HTTPConnection | None:
        """The connection that was used last: those that are not needed grow old."""
        while origin.idle:
            wire, _ = origin.idle.pop()
            if wire.is_reusable:
                return wire
            self._origins_by_connection.pop(wire, None)
        return None

    async def _connect(self, origin: _Origin, transport: TransportSpec) -> HTTPConnection:
        patience, prepared = transport.timeouts.connect, origin.prepared
        if prepared.ssl is not self._contexts.get(transport.tls, prepared.url, prepared.proxy):
            origin.prepared = self._connect_request(prepared.url, transport)  # whom to trust has changed
        try:
            connection = await self._connector.connect(
                origin.prepared, [], aiohttp.ClientTimeout(connect=patience, sock_connect=patience)
            )
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        carrier, protocol = connection.transport, connection.protocol
        if carrier is None or protocol is None or protocol.should_close or carrier.is_closing():
            connection.close()  # it is gone, or what spoke there did not wait to be asked
            raise aiohttp.ServerDisconnectedError
        wire = HTTPConnection(connection, carrier)
        self._origins_by_connection[wire] = origin
        return wire

    def _close_expired(self) -> None:
        """Close what has idled too long, and forget what its server has closed."""
        oldest = self._loop.time() - _KEEPALIVE_EXPIRY
        homes = set(self._origins_by_connection.values())
        for origin in homes:
            for wire, since in origin.idle:
                if since <= oldest or not wire.is_reusable:
                    wire.close()
                    self._origins_by_connection.pop(wire, None)
            origin.idle = [
                (wire, since) for wire, since in origin.idle if wire in self._origins_by_connection
            ]
        idle = any(origin.idle for origin in homes)
        self._sweeping = self._loop.call_later(_SWEEP, self._close_expired) if idle else None

    def _target_for(self, url: str, transport: TransportSpec) -> _RequestTarget:
        if len(self._places) >= _MAX_TARGETS:
            self._places.clear()
            used = set(self._origins_by_connection.values())
            self._origins = {key: origin for key, origin in self._origins.items() if origin in used}
        at = _origin_length(url)
        key = (url[:at], transport.tls, transport.proxy)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = _Origin(
                self._connect_request(URL(url[:at], encoded=True), transport)
            )
        place = _RequestTarget(url, at, origin, transport)
        if len(url) <= _MAX_CACHED_URL:
            self._places[url, id(transport)] = place
        return place

    def _connect_request(self, url: URL, transport: TransportSpec) -> ClientRequest:
        proxy = URL(transport.proxy) if transport.proxy else None
        return ClientRequest(
            "POST",
            url,
            loop=self._loop,
            ssl=self._contexts.get(transport.tls, url, proxy),
            proxy=proxy,
            server_hostname=transport.tls.server_name,
        )


class HTTPResponse(UpstreamResponse):
    """A response whose body is arriving on a connection."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, connection: HTTPConnection, pool: ConnectionPool) -> None:
        self._connection = connection
        self._pool = pool
        self.status = connection.status
        self.headers = connection.headers

    @property
    def complete(self) -> bool:
        return self._connection.response_complete

    async def read_into(self, sink: ByteSink) -> None:
        await self._connection.read_into(sink)

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


def _origin_length(url: str) -> int:
    """How long scheme, host and port are."""
    begin = url.index("://") + 3
    ends = [at for mark in "/?#" if (at := url.find(mark, begin)) >= 0]
    return min(ends, default=len(url))
