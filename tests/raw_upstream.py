"""A model server under full control: every byte it sends, and when it closes, is the test's.

    async def behave(peer):                     one connection, from its beginning
        await peer.request()                    the next request on it; None: the client has closed
        await peer.send(HEAD + b"…")
        await peer.stay()                       until the client closes

    async with upstream(behave) as server: …    server.url, server.requests, server.connections

A connection is closed when its behaviour is over.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from ssl import SSLContext

__all__ = [
    "Behaviour",
    "Connection",
    "Request",
    "UpstreamServer",
    "chunk",
    "head",
    "http_response",
    "responder",
    "run_upstream",
]


@dataclass(frozen=True)
class Request:
    """One request as it came. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    data: bytes

    @property
    def body(self) -> Any:
        """The JSON of it."""
        return json.loads(self.data)


@dataclass
class UpstreamServer:
    """A server that runs. `closed` counts the connections that the client closed while `stay` waited."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_until(self, holds: Callable[[UpstreamServer], bool]) -> None:
        """Wait for something to hold of this server."""
        while not holds(self):
            self.changed.clear()
            await self.changed.wait()


class Connection:
    """One connection. `number` counts from 1."""

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
        """What the certificate says that the client has shown."""
        ((_, name),) = self._writer.get_extra_info("peercert")["subject"][0]
        return str(name)

    async def request(self) -> Request | None:
        """The next request, whole."""
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
        """So many bytes that the client sent; fewer where it has closed."""
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            return error.partial

    async def send(self, data: bytes) -> None:
        """Bytes, as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def wait_closed(self) -> None:
        """Keep the connection open until the client closes it."""
        while await self._reader.read(65536):
            pass
        self._server.closed += 1
        self._server.changed.set()

    def abort(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()


Behaviour = "Callable[[Peer], Awaitable[None]]"


@asynccontextmanager
async def run_upstream(
    behave: Callable[[Connection], Awaitable[None]], *, tls: SSLContext | None = None
) -> AsyncIterator[UpstreamServer]:
    """Run a server on a free port. Its URL is of http in any case."""
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

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    host, port = listening.sockets[0].getsockname()
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        listening.close()
        left = list(running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def head(status: int = 200, /, **headers: str) -> bytes:
    """The head of an answer; `_` in a name stands for a hyphen. `http="1.0"` is the version."""
    version = headers.pop("http", "1.1")
    lines = [f"HTTP/{version} {status} Word"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def http_response(body: bytes | dict[str, Any], status: int = 200, /, **headers: str) -> bytes:
    """A whole answer, of the length that its head tells."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    said = {"content_type": "application/json", "content_length": str(len(data)), **headers}
    return head(status, **said) + data


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; of no data, the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def responder(*answers: bytes) -> Callable[[Connection], Awaitable[None]]:
    """Answers the requests in turn, whatever connection they come on; the last one again and again."""
    left = list(answers)

    async def behave(peer: Connection) -> None:
        while await peer.request():
            await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return behave
