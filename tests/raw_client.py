"""A client on a bare socket, and the bridge it talks to, in this process.

    async with bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        answer = await running.ask({"model": "m", …})         status, headers, body, complete
        async with bridge.connect() as client: …             byte by byte
        await running.metrics()                               {name: {labels: value}}

Nothing here may hang: the block as a whole has an end.
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
_PATIENCE = 30.0  # seconds, far more than any test needs


class Response(NamedTuple):
    """An answer as it came. `complete`: its body has the end that its head promised."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    def completion(self) -> Completion:
        """The whole answer that this must be."""
        assert (self.status, self.complete) == (200, True), self
        assert self.headers["content-type"] == "application/json"
        return read_completion(self.body)

    def stream(self) -> CompletionStream:
        """The stream that this must be, with its honest end."""
        assert (self.status, self.complete) == (200, True), self
        assert self.headers["content-type"].startswith("text/event-stream")
        return read_stream(self.body)

    def error(self) -> dict[str, Any]:
        """The error that this must be."""
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
    """One connection to the bridge."""

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
        """A request."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Host": "bridge", "Content-Type": "application/json", **(headers or {})}
        if body is not None:
            given |= {"Content-Length": str(len(data))}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1") + data)

    async def write(self, data: bytes) -> None:
        """Bytes, as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """The head of the next answer."""
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        parts = (line.partition(":") for line in lines if line)
        return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in parts}

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; b"" is its end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The chunks that are left of a chunked body."""
        while piece := await self.chunk():
            yield piece

    async def response(self, *, bodiless: bool = False) -> Response:
        """The next answer."""
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
        """Whether the bridge closes this connection, and says nothing more."""
        return await self.reader.read() == b""


@dataclass
class RunningBridge:
    """A bridge that runs, and its ports."""

    front: tuple[str, int]
    admin: tuple[str, int]
    reload: asyncio.Event

    @asynccontextmanager
    async def connect(self, *, buffer: int | None = None) -> AsyncIterator[Client]:
        """A connection to the front; `buffer` bounds what the system takes in for a slow reader."""
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

    async def request(self, body: bytes | Mapping[str, Any] | None = None, **how: Any) -> Response:
        """One request on a connection of its own, to its end."""
        async with self.connect() as client:
            await client.send(body, **how)
            return await client.response(bodiless=how.get("method") == "HEAD")

    async def get_admin(self, path: str) -> Response:
        """What the admin port says."""
        reader, writer = await asyncio.open_connection(*self.admin)
        client = Client(reader, writer)
        try:
            await client.send(method="GET", path=path)
            return await client.response()
        finally:
            writer.close()

    async def samples(self) -> list[Sample]:
        """Every sample of /metrics, as Prometheus reads them."""
        answer = await self.get_admin("/metrics")
        assert answer.status == 200
        families = text_string_to_metric_families(answer.body.decode())
        return [sample for family in families for sample in family.samples]

    async def count(self, name: str, **labels: str) -> float:
        """The sum of all samples of a name whose labels are these, among others."""
        return sum_samples(await self.samples(), name, **labels)

    async def wait_for_count(self, number: float, name: str, **labels: str) -> None:
        """Wait for a count: what is told of a request comes behind its last byte."""

        async def reached() -> bool:
            return await self.count(name, **labels) == number

        await wait_until(reached)


async def wait_until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it holds: of what happens elsewhere no event tells."""
    while not await holds():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def sum_samples(samples: list[Sample], name: str, **labels: str) -> float:
    """The sum of all samples of a name whose labels are these, among others."""
    return sum(
        sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()
    )


def load_table(text: str, variables: Mapping[str, str]) -> RouteTable:
    """The table of a file that reads nothing but these variables."""

    def no_file(name: str) -> str:
        raise FileNotFoundError(name)

    return load(text, "routes.yaml", LoadEnvironment(variables, no_file, {}))


@asynccontextmanager
async def run_bridge(
    text: str, variables: Mapping[str, str], *, file: str = "", seen: FileStamp | None = None
) -> AsyncIterator[RunningBridge]:
    """Run the bridge by a file's text. With `file`, that one is watched in its place from then on.

    `seen`: its stamp when the text was read, if that was before.
    """
    front, admin = bind("127.0.0.1:0"), bind("127.0.0.1:0")
    ports = front.getsockname(), admin.getsockname()
    table = load_table(text, variables)
    settings = ServerSettings(file, table, front, admin, variables, watch=bool(file), seen=seen)
    async with asyncio.timeout(_PATIENCE), run_server(settings) as reload:
        yield RunningBridge(*ports, reload)
