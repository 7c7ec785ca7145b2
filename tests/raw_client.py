"""A bridge in this process, and a client on a raw socket.

    async with run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request({"model": "m", …})     status, headers, body, complete
        async with bridge.connect() as client: …               byte by byte
        await bridge.count("bridge_requests_total")            a sum of metrics

The block has a timeout, so that a test fails instead of hanging.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import RouteTable, load
from bridge.server.app import ServerSettings, bind, run_server
from tests.strict_client import Completion, CompletionStream, read_completion, read_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from prometheus_client.samples import Sample

    from bridge.file_stamp import FileStamp

__all__ = [
    "CHAT",
    "HELLO",
    "Client",
    "Response",
    "RunningBridge",
    "load_table",
    "run_bridge",
    "sum_samples",
    "wait_until",
]

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
_TIMEOUT = 30.0  # seconds


class Response(NamedTuple):
    """A response as received. `complete`: the body has the declared length, or its last chunk."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def completion(self) -> Completion:
        """Return the completion, after asserting success."""
        assert (self.status, self.complete) == (200, True), self
        assert self.headers["content-type"] == "application/json"
        return read_completion(self.body)

    def stream(self) -> CompletionStream:
        """Return the stream, after asserting success and a valid end."""
        assert (self.status, self.complete) == (200, True), self
        assert self.headers["content-type"].startswith("text/event-stream")
        return read_stream(self.body)

    def error(self) -> dict[str, Any]:
        """Return the error of the envelope, after asserting an error status."""
        assert self.status >= 400, self
        assert self.complete
        assert self.headers["content-type"] == "application/json"
        assert list(self.json) == ["error"]
        error: dict[str, Any] = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str)
        assert error["message"]
        assert isinstance(error["type"], str)
        assert all(error[name] is None or isinstance(error[name], str) for name in ("param", "code"))
        return error


class Client:
    """A connection to the bridge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(
        self,
        body: bytes | Mapping[str, Any] | None = None,
        *,
        method: str = "POST",
        path: str = CHAT,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a request."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Host": "bridge", "Content-Type": "application/json", **(headers or {})}
        if body is not None:
            fields |= {"Content-Length": str(len(data))}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1") + data)

    async def write(self, data: bytes) -> None:
        """Send bytes unchanged."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Return status and headers of the next response."""
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        parts = (line.partition(":") for line in lines if line)
        return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in parts}

    async def chunk(self) -> bytes:
        """Return the next chunk of a chunked body; b"" is the end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the remaining chunks of a chunked body."""
        while piece := await self.chunk():
            yield piece

    async def response(self, *, bodiless: bool = False) -> Response:
        """Return the next response."""
        status, headers = await self.head()
        body, complete = b"", False
        try:
            if bodiless or status in (204, 304):
                pass
            elif headers.get("transfer-encoding") == "chunked":
                async for piece in self.chunks():
                    body += piece
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            else:
                body = await self.reader.read()
            complete = True
        except asyncio.IncompleteReadError as error:
            body += error.partial
        return Response(status, headers, body, complete)

    async def at_end(self) -> bool:
        """Return whether the bridge closes the connection without sending more data."""
        return await self.reader.read() == b""


@dataclass
class RunningBridge:
    """A running bridge and the addresses of its ports."""

    front: tuple[str, int]
    admin: tuple[str, int]
    reload: asyncio.Event

    @asynccontextmanager
    async def connect(self, *, buffer: int | None = None) -> AsyncIterator[Client]:
        """Connect to the front; `buffer` is the size of the system's receive buffer for a slow reader."""
        raw = socket.socket()
        raw.setblocking(False)
        if buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await asyncio.get_running_loop().sock_connect(raw, self.front)
        reader, writer = await asyncio.open_connection(sock=raw, limit=buffer or 2**16)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()

    async def request(self, body: bytes | Mapping[str, Any] | None = None, **options: Any) -> Response:
        """Send a request on a new connection, and return the response."""
        async with self.connect() as client:
            await client.send(body, **options)
            return await client.response(bodiless=options.get("method") == "HEAD")

    async def get_admin(self, path: str) -> Response:
        """Return the response of the admin port for a path."""
        reader, writer = await asyncio.open_connection(*self.admin)
        client = Client(reader, writer)
        try:
            await client.send(method="GET", path=path)
            return await client.response()
        finally:
            writer.close()

    async def samples(self) -> list[Sample]:
        """Return every sample of /metrics."""
        answer = await self.get_admin("/metrics")
        assert answer.status == 200
        families = text_string_to_metric_families(answer.body.decode())
        return [sample for family in families for sample in family.samples]

    async def count(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with this name and these labels."""
        return sum_samples(await self.samples(), name, **labels)

    async def wait_for_count(self, number: float, name: str, **labels: str) -> None:
        """Wait until a count is reached, since requests are recorded after their last byte."""

        async def reached() -> bool:
            return await self.count(name, **labels) == number

        await wait_until(reached)


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition is true, by polling."""
    while not await condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def sum_samples(samples: list[Sample], name: str, **labels: str) -> float:
    """Return the sum of the samples with this name and these labels."""
    return sum(
        sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()
    )


def load_table(text: str, variables: Mapping[str, str]) -> RouteTable:
    """Return the table of a routes file that reads these variables."""

    def no_file(name: str) -> str:
        raise FileNotFoundError(name)

    return load(text, "routes.yaml", LoadEnvironment(variables, no_file, {}))


@asynccontextmanager
async def run_bridge(
    text: str, variables: Mapping[str, str], *, file: str = "", seen: FileStamp | None = None
) -> AsyncIterator[RunningBridge]:
    """Run a bridge with the text of a routes file. With `file`, that file is watched for changes.

    `seen` is the stamp of the file when the text was read, by default its present stamp.
    """
    front, admin = bind("127.0.0.1:0"), bind("127.0.0.1:0")
    ports = front.getsockname(), admin.getsockname()
    table = load_table(text, variables)
    settings = ServerSettings(file, table, front, admin, variables, watch=bool(file), seen=seen)
    async with asyncio.timeout(_TIMEOUT), run_server(settings) as reload:
        yield RunningBridge(*ports, reload)
