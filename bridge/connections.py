"""One request on one connection of aiohttp's pool, driven directly.

    connector.connect ─▶ set_response_params ─▶ transport.write ─▶ protocol.read ─▶ the payload as it arrives

The pool, DNS, TLS, proxies and the response parser are aiohttp's; the request is written by us, since its
`ClientSession` costs several times what all of this does. Tested with the aiohttp that pyproject.toml names.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from yarl import URL

from bridge.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.connector import Connection
    from aiohttp.streams import StreamReader

    from bridge.routes.route import UpstreamRequest
    from bridge.routes.spec.transport import TLSSpec, TransportSpec
    from bridge.trust import Contexts

__all__ = ["Arriving", "Connections", "Stale"]

_USED = "used_by_bridge"  # a mark on a connection that has answered before
_ORIGINS = 1000  # prepared at most; more are hosts that requests name, and are prepared anew
_LONGEST = 2**16  # bytes of a header line of an answer
_MANY = 2**18  # bytes of a body above which it is not joined with its head


class Stale(Exception):  # noqa: N818 - not an error: a new connection will do
    """A connection of the pool was closed by the server before any of the answer came."""


class _Origin(NamedTuple):
    """Where connections go. `prepared` is what aiohttp's pool and proxies want to know of it."""

    prepared: ClientRequest
    host: str
    absolute: bool  # a proxy wants the whole URL in the request line


class Connections:
    """All connections to all servers. `fresh`: none of them is used twice."""

    def __init__(self, contexts: Contexts, *, fresh: bool = False) -> None:
        self._contexts = contexts
        self._connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=30, force_close=fresh)
        self._origins: dict[tuple[str, TLSSpec, str | None], _Origin] = {}

    async def close(self) -> None:
        """Close every connection."""
        await self._connector.close()

    async def answer(
        self, request: UpstreamRequest, url: str, transport: TransportSpec, begun: float
    ) -> Arriving:
        """Send a request; its answer, whose head has come.

        Raises what aiohttp does, TimeoutError and Stale.
        """
        at = _origin_length(url)
        origin = self._origin(url[:at], transport)
        patience = transport.timeouts.connect
        try:
            connection = await self._connector.connect(
                origin.prepared, [], aiohttp.ClientTimeout(connect=patience, sock_connect=patience)
            )
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        try:
            return await self._sent(connection, request, _head(request, url, at, origin), transport, begun)
        except BaseException:
            connection.close()
            raise

    async def _sent(
        self,
        connection: Connection,
        request: UpstreamRequest,
        head: bytes,
        transport: TransportSpec,
        begun: float,
    ) -> Arriving:
        protocol = connection.protocol
        assert protocol is not None
        wire = protocol.transport
        reused = getattr(protocol, _USED, False)
        if wire is None or wire.is_closing():
            raise Stale
        setattr(protocol, _USED, True)
        protocol.set_response_params(read_until_eof=True, max_line_size=_LONGEST, max_field_size=_LONGEST)
        body = request.body or b""
        if len(body) < _MANY:
            wire.write(head + body)
        else:
            wire.writelines((head, body))
        patience = Patience(protocol, transport.timeouts, begun)
        try:
            while True:
                message, payload = await protocol.read()
                if not 100 <= message.code < 200:
                    return Arriving(message.code, message.headers, payload, connection, patience)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            patience.stop()
            if reused and not _answered(error):
                raise Stale from error
            raise
        except BaseException:
            patience.stop()
            raise

    def _origin(self, front: str, transport: TransportSpec) -> _Origin:
        key = (front, transport.tls, transport.proxy)
        origin = self._origins.get(key)
        if origin is None:
            if len(self._origins) >= _ORIGINS:
                self._origins.clear()
            origin = self._origins[key] = self._prepared(front, transport)
        return origin

    def _prepared(self, front: str, transport: TransportSpec) -> _Origin:
        url = URL(front, encoded=True)
        prepared = ClientRequest(
            "POST",
            url,
            loop=asyncio.get_running_loop(),
            ssl=self._contexts.of(transport.tls),
            proxy=URL(transport.proxy) if transport.proxy else None,
            server_hostname=transport.tls.server_name,
        )
        absolute = transport.proxy is not None and url.scheme == "http"
        return _Origin(prepared, prepared.headers["Host"], absolute)


class Arriving:
    """An answer whose body is arriving."""

    __slots__ = ("_connection", "_patience", "_payload", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        payload: StreamReader,
        connection: Connection,
        patience: Patience,
    ) -> None:
        self.status = status
        self.headers = headers
        self._payload = payload
        self._connection = connection
        self._patience = patience
        patience.reads(payload)

    async def some(self) -> bytes:
        """What has arrived; nothing at the end. Raises what aiohttp does, and TimeoutError."""
        self._patience.waits()
        try:
            return await self._payload.readany()
        finally:
            self._patience.rests()

    def close(self) -> None:
        """The connection can be used again if the answer was read to its end, and the request sent."""
        self._patience.stop()
        wire = self._connection.transport
        if self._payload.at_eof() and wire is not None and not wire.get_write_buffer_size():
            self._connection.release()
        else:
            self._connection.close()


def _head(request: UpstreamRequest, url: str, at: int, origin: _Origin) -> bytes:
    """The request line and headers. Their values were checked for line breaks when they were made."""
    target = url if origin.absolute else url[at:].partition("#")[0]
    if not target.startswith(("/", "http")):
        target = "/" + target
    lines = [f"{request.method} {target} HTTP/1.1"]
    named = {name.lower() for name in request.headers}
    if "host" not in named:
        lines.append(f"Host: {origin.host}")
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if "user-agent" not in named:
        lines.append("User-Agent: bridge")
    if (key := origin.prepared.headers.get("Authorization")) and "authorization" not in named:
        lines.append(f"Authorization: {key}")  # of a URL such as http://user:password@host
    if origin.absolute and (key := origin.prepared.headers.get("Proxy-Authorization")):
        lines.append(f"Proxy-Authorization: {key}")
    if request.body is not None or request.method != "GET":
        lines.append(f"Content-Length: {len(request.body or b'')}")
    return "\r\n".join([*lines, "", ""]).encode()


def _origin_length(url: str) -> int:
    """How long scheme, host and port are."""
    begin = url.index("://") + 3
    ends = [at for mark in "/?#" if (at := url.find(mark, begin)) >= 0]
    return min(ends, default=len(url))


def _answered(error: BaseException) -> bool:
    """Whether part of an answer had come when the server closed.

    aiohttp then gives what it had parsed of the head as the error's message, and a text otherwise.
    """
    message = getattr(error, "message", None)
    return message is not None and not isinstance(message, str)
