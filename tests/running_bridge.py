"""The bridge in this process, on free ports.

    async with run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request({"model": "m", …})     on a new connection
        async with bridge.connect() as client: …               byte by byte
        await bridge.count("bridge_requests_total")            a sum of metrics

The block has a timeout, so that a test fails instead of hanging.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from inspect import getsource
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from bridge.loader import load_routes
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import RouteTable, load
from bridge.server.app import ServerSettings, run_server
from bridge.server.listening import bind
from tests.raw_client import Client, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from prometheus_client.samples import Sample

    from bridge.file_stamp import FileStamp

__all__ = [
    "RunningBridge",
    "load_table",
    "run_bridge",
    "run_bridge_from_file",
    "serve_table",
    "sum_samples",
    "wait_until",
]

_TIMEOUT = 30.0  # seconds
_WAIT_TIMEOUT = 15.0  # seconds, shorter than `_TIMEOUT`, so that a failed wait names its condition


@dataclass
class RunningBridge:
    """A running bridge and the addresses of its ports."""

    front: tuple[str, int]
    admin: tuple[str, int]
    reload: asyncio.Event

    @property
    def url(self) -> str:
        """The URL of the front."""
        return "http://{}:{}".format(*self.front[:2])

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
        response = await self.get_admin("/metrics")
        assert response.status == 200
        families = text_string_to_metric_families(response.body.decode())
        return [sample for family in families for sample in family.samples]

    async def count(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with this name and these labels."""
        return sum_samples(await self.samples(), name, **labels)

    async def wait_for_count(self, number: float, name: str, **labels: str) -> None:
        """Wait until a count is reached, since requests are recorded after their last byte."""

        async def reached() -> bool:
            return await self.count(name, **labels) == number

        try:
            await wait_until(reached)
        except AssertionError:
            count = await self.count(name, **labels)
            raise AssertionError(f"{name}{labels} is {count}: expected {number}") from None


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition is true, by polling."""
    try:
        async with asyncio.timeout(_WAIT_TIMEOUT):
            while not await condition():  # noqa: ASYNC110 - the condition has no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"still false after {_WAIT_TIMEOUT} s:\n{getsource(condition)}") from None


def sum_samples(samples: list[Sample], name: str, **labels: str) -> float:
    """Return the sum of the samples with this name and these labels."""
    return sum(
        sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()
    )


def load_table(
    text: str, variables: Mapping[str, str], presets: Mapping[str, str] | None = None
) -> RouteTable:
    """Return the table of a routes file that reads these variables and no files."""

    def no_file(name: str) -> str:
        raise FileNotFoundError(name)

    return load(text, "routes.yaml", LoadEnvironment(variables, no_file, presets or {}))


@asynccontextmanager
async def run_bridge(
    text: str, variables: Mapping[str, str], *, file: str = "", seen: FileStamp | None = None
) -> AsyncIterator[RunningBridge]:
    """Run a bridge with the text of a routes file. With `file`, that file is watched for changes.

    `seen` is the stamp of the file when the text was read, by default its present stamp.
    """
    table = load_table(text, variables)
    async with serve_table(table, variables, file=file, watch=bool(file), seen=seen) as bridge:
        yield bridge


@asynccontextmanager
async def run_bridge_from_file(
    folder: Path, text: str, variables: Mapping[str, str]
) -> AsyncIterator[RunningBridge]:
    """Run a bridge with a routes file of this text in a folder, next to certificates for example."""
    file = folder / "routes.yaml"
    file.write_text(text)
    async with serve_table(load_routes(str(file), variables), variables, file=str(file)) as bridge:
        yield bridge


@asynccontextmanager
async def serve_table(
    table: RouteTable,
    variables: Mapping[str, str] | None = None,
    *,
    file: str = "",
    watch: bool = False,
    seen: FileStamp | None = None,
    files: Mapping[str, FileStamp] | None = None,
    limit: float | None = _TIMEOUT,
) -> AsyncIterator[RunningBridge]:
    """Run a bridge with a table. `limit` is the timeout of the block, in seconds."""
    front, admin = bind("127.0.0.1:0"), bind("127.0.0.1:0")
    ports = front[0].getsockname(), admin[0].getsockname()
    settings = ServerSettings(
        file, table, front, admin, variables or {}, watch=watch, seen=seen, files=files or {}
    )
    async with asyncio.timeout(limit), run_server(settings) as server:
        yield RunningBridge(*ports, server.reload)
