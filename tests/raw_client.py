"""A client on a raw socket: requests and responses byte by byte.

async with bridge.connect() as client:
    await client.send({"model": "m", …})
    status, headers = await client.head()
    response = await client.response()        status, headers, body, complete
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.strict_client import Completion, CompletionStream, read_completion, read_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["CHAT", "HELLO", "Client", "Response"]

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


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
