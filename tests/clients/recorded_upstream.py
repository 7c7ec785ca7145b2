"""An upstream that responds with recorded bytes, or with bytes that a test sets, by path.

    POST /7/tds_stream  ─▶  tests/seeds/tds_stream.resp in pieces of 7 bytes; 0: in one piece
    POST /made/…        ─▶  the pieces of `set_response`

The methods are called by tests that block, from another thread.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.background_loop import wait_blocking
from tests.raw_upstream import Connection, Request, UpstreamServer, chunk, run_upstream
from tests.recordings import SEEDS
from tests.upstream.formats import event, stream_head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["RecordedUpstream", "run_recorded_upstream", "stream_pieces"]


class RecordedUpstream:
    """The responses by path, and the requests."""

    def __init__(self) -> None:
        self.server = UpstreamServer()
        self._responses: dict[str, tuple[tuple[bytes, ...], bool]] = {}
        self._disconnected: set[str] = set()

    @property
    def url(self) -> str:
        return self.server.url

    def set_response(self, path: str, *pieces: bytes, waits: bool = False) -> None:
        """Set the response for a path. With `waits`, the connection stays open until the client closes."""
        self._responses[path] = pieces, waits

    def requests_for(self, path: str) -> list[Request]:
        """Return the requests for a path."""
        return [request for request in self.server.requests if request.path == path]

    def latest_request(self, path: str) -> Request:
        """Wait for a request for a path, and return the latest."""
        wait_blocking(lambda: self.requests_for(path), f"a request for {path}")
        return self.requests_for(path)[-1]

    def wait_for_disconnect(self, path: str) -> None:
        """Wait until the client has disconnected from a response that waits."""
        wait_blocking(lambda: path in self._disconnected, f"a disconnect from {path}")

    async def respond(self, connection: Connection) -> None:
        """Respond to one request, and close the connection."""
        request = await connection.request()
        if request is None:
            return
        pieces, waits = self._responses.get(request.path) or (_recorded(request.path), False)
        for piece in pieces:
            await connection.send(piece)
            await asyncio.sleep(0)
        if waits:
            await connection.wait_closed()
            self._disconnected.add(request.path)


@asynccontextmanager
async def run_recorded_upstream() -> AsyncIterator[RecordedUpstream]:
    """Run an upstream of recorded bytes on a free port."""
    upstream = RecordedUpstream()
    async with run_upstream(upstream.respond) as upstream.server:
        yield upstream


def _recorded(path: str) -> tuple[bytes, ...]:
    size, name = path.removeprefix("/").split("/")
    data = (SEEDS / f"{name}.resp").read_bytes()
    step = int(size) or len(data)
    return tuple(data[start : start + step] for start in range(0, len(data), step))


def stream_pieces(*payloads: object, complete: bool = True) -> tuple[bytes, ...]:
    """Return a stream with an event for each payload in pieces, without its last chunk if not complete."""
    events = (
        f"data: {payload}\n\n".encode() if isinstance(payload, str) else event(payload)
        for payload in payloads
    )
    return (stream_head(), *map(chunk, events), *([chunk(b"")] if complete else []))
