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
from bridge.upstream.errors import ours
from bridge.upstream.http_connection import Wire
from bridge.upstream.response import joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.settings import TransportSpec
    from bridge.upstream.tls import Contexts

__all__ = ["Connections", "Response"]

_PLACES = 1000  # known at most; more are URLs that requests fill in, and are looked at anew
_HEADS = 16  # kept of each: those of routes whose headers do not differ from request to request
_IDLE = 15.0  # seconds that a connection is kept: many servers close theirs after 20 or more
_SWEEP = 5.0  # seconds between two looks for those that have idled too long


class _Origin:
    """Where connections lead. `prepared` is what aiohttp's connector and proxies want to know of it."""

    __slots__ = ("idle", "prepared")

    def __init__(self, prepared: ClientRequest) -> None:
        self.prepared = prepared
        self.idle: list[tuple[Wire, float]] = []


class _Place:
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
            if len(self._heads) >= _HEADS:
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


class Connections:
    """All connections to all servers."""

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self._loop = asyncio.get_running_loop()
        self._connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=30)
        self._origins: dict[tuple[object, ...], _Origin] = {}
        self._places: dict[tuple[str, int], _Place] = {}
        self._homes: dict[Wire, _Origin] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for wire in list(self._homes):
            wire.close()
        await self._connector.close()

    async def answer(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, begun: float
    ) -> Response:
        """Send a request; its answer, whose head has come. Raises UpstreamError."""
        wire: Wire | None = None
        try:
            place = self._places.get((url, id(transport)))
            if place is None or place.transport is not transport:
                place = self._placed(url, transport)
            wire = self._kept(place.origin)
            while True:
                if wire is None:
                    wire = await self._connected(place.origin, transport)
                wire.ask(place.head(request), request.body or b"", url, transport.timeouts, begun)
                await wire.head()
                if wire.status:
                    return Response(wire, self)
                assert wire.error is not None
                if wire.fresh or wire.heard or not isinstance(wire.error, aiohttp.ServerDisconnectedError):
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
            raise ours(error, url, transport.timeouts) from error

    def release(self, wire: Wire) -> None:
        """Take a connection back."""
        if not wire.release():
            self._homes.pop(wire, None)
            return
        self._homes[wire].idle.append((wire, self._loop.time()))
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(_SWEEP, self._sweep)

    def _kept(self, origin: _Origin) -> Wire | None:
        """The connection that was used last: those that are not needed grow old."""
        while origin.idle:
            wire, _ = origin.idle.pop()
            if wire.usable:
                return wire
            self._homes.pop(wire, None)
        return None

    async def _connected(self, origin: _Origin, transport: TransportSpec) -> Wire:
        patience, prepared = transport.timeouts.connect, origin.prepared
        if prepared.ssl is not self._contexts.of(transport.tls, prepared.url, prepared.proxy):
            origin.prepared = self._prepared(prepared.url, transport)  # whom to trust has changed
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
        wire = Wire(connection, carrier)
        self._homes[wire] = origin
        return wire

    def _sweep(self) -> None:
        """Close what has idled too long, and forget what its server has closed."""
        oldest = self._loop.time() - _IDLE
        homes = set(self._homes.values())
        for origin in homes:
            for wire, since in origin.idle:
                if since <= oldest or not wire.usable:
                    wire.close()
                    self._homes.pop(wire, None)
            origin.idle = [(wire, since) for wire, since in origin.idle if wire in self._homes]
        idle = any(origin.idle for origin in homes)
        self._sweeping = self._loop.call_later(_SWEEP, self._sweep) if idle else None

    def _placed(self, url: str, transport: TransportSpec) -> _Place:
        if len(self._places) >= _PLACES:
            self._places.clear()
            used = set(self._homes.values())
            self._origins = {key: origin for key, origin in self._origins.items() if origin in used}
        at = _origin_length(url)
        key = (url[:at], transport.tls, transport.proxy)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = _Origin(self._prepared(URL(url[:at], encoded=True), transport))
        place = self._places[url, id(transport)] = _Place(url, at, origin, transport)
        return place

    def _prepared(self, url: URL, transport: TransportSpec) -> ClientRequest:
        proxy = URL(transport.proxy) if transport.proxy else None
        return ClientRequest(
            "POST",
            url,
            loop=self._loop,
            ssl=self._contexts.of(transport.tls, url, proxy),
            proxy=proxy,
            server_hostname=transport.tls.server_name,
        )


class Response:
    """An answer that is arriving. `pump` is its connection's: see there."""

    __slots__ = ("_connections", "_wire", "headers", "pump", "status")

    def __init__(self, wire: Wire, connections: Connections) -> None:
        self._wire = wire
        self._connections = connections
        self.status = wire.status
        self.headers = wire.headers
        self.pump = wire.pump

    async def read(self, limit: int) -> bytes:
        """The whole body, of at most so many bytes. Raises UpstreamError."""
        return await joined(self, limit)

    async def drain(self, seconds: float) -> None:
        """Read what little may be left, so that the connection can be used again."""
        if self._wire.over:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.pump(_passed)
        except (UpstreamError, TimeoutError):
            return

    async def close(self) -> None:
        """The connection is used again if the answer was read to its end, and the request sent."""
        self._connections.release(self._wire)


def _origin_length(url: str) -> int:
    """How long scheme, host and port are."""
    begin = url.index("://") + 3
    ends = [at for mark in "/?#" if (at := url.find(mark, begin)) >= 0]
    return min(ends, default=len(url))


def _passed(data: bytes) -> bool:
    return True
