"""A model server of raw bytes: it answers each request with what was recorded, head and chunks included.

    POST /7/tds_stream  ─▶ tests/seeds/tds_stream.resp, sent in pieces of 7 bytes; 0: in one
    POST /made/…        ─▶ what `answer` was given for that path

`asked` holds the requests by path, as they came. It knows nothing of HTTP beyond the length of a body.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tests.recordings import SEEDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager

__all__ = ["Asked", "Upstream", "events", "in_background", "whole"]

_PATIENCE = 30.0  # seconds
T = TypeVar("T")


class Asked(NamedTuple):
    """One request. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def doc(self) -> Any:
        return json.loads(self.body)


class _Made(NamedTuple):
    pieces: tuple[bytes, ...]
    stays: bool = False


class Upstream:
    """Answers in bytes. `url` is known once it serves."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: dict[str, list[Asked]] = defaultdict(list)
        self._changed = Condition()
        self._left: set[str] = set()
        self._made: dict[str, _Made] = {}
        self._open: set[asyncio.Task[None]] = set()

    def answer(self, path: str, *pieces: bytes, stays: bool = False) -> None:
        """What to send for this path from now on. `stays`: then wait until the other side leaves."""
        self._made[path] = _Made(pieces, stays)

    def latest(self, path: str) -> Asked:
        """The latest request for a path, awaited if there was none yet."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.asked[path], _PATIENCE), f"nothing came for {path}"
            return self.asked[path][-1]

    def left(self, path: str) -> None:
        """Wait until the other side has left an answer that stays."""
        with self._changed:
            assert self._changed.wait_for(lambda: path in self._left, _PATIENCE), f"{path} was not left"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Upstream]:
        """Serve on a free loopback port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            server.close()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._converse(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and its answer; then the connection is closed."""
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                asked = await _read(reader)
                with self._changed:
                    self.asked[asked.path].append(asked)
                    self._changed.notify_all()
                made = self._made.get(asked.path) or _recorded(asked.path)
                for piece in made.pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if made.stays:
                    assert not await reader.read()
                    with self._changed:
                        self._left.add(asked.path)
                        self._changed.notify_all()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    fields = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def _recorded(path: str) -> _Made:
    size, name = path.removeprefix("/").split("/")
    data = (SEEDS / f"{name}.resp").read_bytes()
    step = int(size) or len(data)
    return _Made(tuple(data[start : start + step] for start in range(0, len(data), step)))


def whole(status: int, doc: object, **headers: str) -> bytes:
    """An answer of JSON. In the names of headers _ stands for -."""
    body = json.dumps(doc).encode()
    given = {"content_type": "application/json", **headers, "content_length": str(len(body))}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    return "\r\n".join([f"HTTP/1.1 {status} Said", *lines, "", ""]).encode() + body


def events(*docs: object, complete: bool = True) -> tuple[bytes, ...]:
    """The pieces of an answer of SSE, an event each. Without `complete` the body never comes to its end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    datas = [doc if isinstance(doc, str) else json.dumps(doc) for doc in docs]
    pieces = [f"data: {data}\n\n".encode() for data in datas]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return (head, *chunks, *([b"0\r\n\r\n"] if complete else []))


@contextmanager
def in_background(manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter what needs an event loop in one of its own, in a thread; clients may then block."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()

    def call(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(_PATIENCE)

    async def enter() -> T:
        return await manager.__aenter__()

    async def leave() -> None:
        await manager.__aexit__(None, None, None)

    try:
        value: T = call(enter())
        try:
            yield value
        finally:
            call(leave())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
