"""An upstream on a raw socket: a test controls every byte and the end of each connection.

    async def behave(peer):                         one connection, from its start
        await peer.request()                        the next request; None: the client has closed
        await peer.send(HEAD + b"…")
        await peer.wait_closed()                    until the client closes

    async with run_upstream(behave) as server: …    server.url, server.requests, server.connections

A connection is closed when its handler returns.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from ssl import SSLContext

__all__ = [
    "Connection",
    "Handler",
    "Request",
    "UpstreamServer",
    "chunk",
    "head",
    "http_response",
    "responder",
    "run_upstream",
]

_WAIT_TIMEOUT = 15.0  # seconds


@dataclass(frozen=True)
class Request:
    """A request as received. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    data: bytes

    @property
    def body(self) -> Any:
        """The body as JSON."""
        return json.loads(self.data)


@dataclass
class UpstreamServer:
    """A running upstream. `closed` counts the connections that the client closed during `wait_closed`."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_until(self, condition: Callable[[UpstreamServer], bool]) -> None:
        """Wait until a condition of this server is true."""
        try:
            async with asyncio.timeout(_WAIT_TIMEOUT):
                while not condition(self):
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"a condition is still false after {_WAIT_TIMEOUT} s: {self}") from None


class Connection:
    """A connection. `number` counts from 1."""

    def __init__(
        self, server: UpstreamServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        server.connections += 1
        self.number = server.connections
        self._server = server
        self._reader = reader
        self._writer = writer

    @property
    def name(self) -> str:
        """The common name of the client's certificate."""
        ((_, name),) = self._writer.get_extra_info("peercert")["subject"][0]
        return str(name)

    async def request(self) -> Request | None:
        """Return the next request, None if the client has closed."""
        try:
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            parts = (line.partition(":") for line in lines if line)
            headers = {name.lower(): value.strip() for name, _, value in parts}
            data = await self._reader.readexactly(int(headers.get("content-length", 0)))
        except asyncio.IncompleteReadError:
            return None
        method, path, _ = first.split(" ")
        request = Request(method, path, headers, data)
        self._server.requests.append(request)
        self._server.changed.set()
        return request

    async def read(self, size: int) -> bytes:
        """Return this number of bytes from the client, fewer if the client has closed."""
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            return error.partial

    async def send(self, data: bytes) -> None:
        """Send bytes unchanged."""
        self._writer.write(data)
        await self._writer.drain()

    async def wait_closed(self) -> None:
        """Wait until the client closes the connection."""
        while await self._reader.read(65536):
            pass
        self._server.closed += 1
        self._server.changed.set()

    def abort(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()


Handler = Callable[[Connection], Awaitable[None]]


@asynccontextmanager
async def run_upstream(behave: Handler, *, tls: SSLContext | None = None) -> AsyncIterator[UpstreamServer]:
    """Run an upstream on a free port. Its URL has the scheme http, also with TLS."""
    server = UpstreamServer()
    running: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            with suppress(ConnectionError):
                await behave(Connection(server, reader, writer))
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            running.discard(task)
            writer.close()
            server.changed.set()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    host, port = listener.sockets[0].getsockname()
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        listener.close()
        pending = list(running)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def head(status: int = 200, /, **headers: str) -> bytes:
    """Return the head of a response. `_` in a name stands for a hyphen; `http="1.0"` is the version."""
    version = headers.pop("http", "1.1")
    lines = [f"HTTP/{version} {status} Word"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def http_response(body: bytes | dict[str, Any], status: int = 200, /, **headers: str) -> bytes:
    """Return a complete response with its content length."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content_type": "application/json", "content_length": str(len(data)), **headers}
    return head(status, **fields) + data


def chunk(data: bytes) -> bytes:
    """Return a chunk of a chunked body; without data, the last chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def responder(*responses: bytes) -> Handler:
    """Return a handler that sends these responses in turn over all connections, and repeats the last."""
    pending = list(responses)

    async def behave(peer: Connection) -> None:
        while await peer.request():
            await peer.send(pending.pop(0) if len(pending) > 1 else pending[0])

    return behave
