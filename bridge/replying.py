"""The way back to the client: a head that is held until there is something to say.

    reply.whole(status, body)                          one body, sent when the handler returns it
    reply.put(data)* ─▶ reply.end(data)                a stream; its first piece brings the head

`aiohttp.web.Server` takes what a handler returns by three names: `prepare`, `write_eof` and `keep_alive`.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from bridge import json

if TYPE_CHECKING:
    from bridge.errors import BridgeError
    from bridge.incoming import Request

__all__ = ["Dates", "Reply"]


class Dates:
    """The time of day as a head tells it (RFC 9110, 5.6.7), made once a second."""

    __slots__ = ("_second", "_shown")

    def __init__(self) -> None:
        self._second = 0
        self._shown = ""

    def __call__(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._shown = second, formatdate(second, usegmt=True)
        return self._shown


class Reply:
    """One reply: whole, or in pieces. `id` is the request's, `cors` the origin that may read it.

    What is written raises ConnectionResetError where the client has left.
    """

    __slots__ = (
        "_body", "_chunked", "_client", "_dates", "_request", "_streams", "cors", "headers", "id",
        "keep_alive", "status",
    )  # fmt: skip

    def __init__(self, request: Request, id: str, cors: str | None, dates: Dates) -> None:  # noqa: A002
        self._request = request
        self._client = request.protocol
        self._dates = dates
        self._body: bytes | None = None
        self._streams = False
        self._chunked = False
        self.id = id
        self.cors = cors
        self.status = 0
        self.keep_alive = request.keep_alive
        self.headers = {"X-Request-Id": id}
        if cors is not None:
            self.headers |= {
                "Access-Control-Allow-Origin": cors,
                "Access-Control-Expose-Headers": "X-Request-Id, X-Bridge-Route, X-Bridge-Dropped",
                "Vary": "Origin",
            }

    def whole(self, status: int, body: bytes, content_type: str = "application/json") -> Self:
        """The reply in one piece."""
        self.status = status
        self._body = body
        self.headers["Content-Type"] = content_type
        return self

    def failed(self, error: BridgeError) -> Self:
        """An error's envelope, under its own status."""
        self.headers |= error.headers
        if error.retry_after is not None:
            self.headers["Retry-After"] = error.retry_after
        if error.status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"
        if not self._request.content.at_eof():
            self.keep_alive = False  # what is left of the body is not read
        return self.whole(error.status, json.dumps(error.envelope))

    def preflight(self) -> Self:
        """What a browser asks before a page may call."""
        self.headers |= {
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": self._request.headers.get("Access-Control-Request-Headers", "*"),
            "Access-Control-Max-Age": "600",
        }
        self.status = 204
        return self

    def put(self, data: bytes, content_type: str) -> bool:
        """A piece of a stream; whether the client takes more at once."""
        head = b"" if self._streams else self._begun(content_type)
        if self._chunked:
            self._write(b"%b%x\r\n%b\r\n" % (head, len(data), data))
        else:
            self._write(head + data)
        return not self._client.writing_paused

    async def drained(self) -> None:
        """Wait until the client takes more."""
        await self._client.drained()

    def end(self, data: bytes = b"") -> Self:
        """The end of a stream that has begun, and its last piece."""
        if self._chunked:
            self._write((b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n")
        elif data:
            self._write(data)
        return self

    async def prepare(self, request: object) -> None:
        """Send it, if it is not a stream."""
        if self._streams:
            return
        body = self._body
        if body is not None:
            self.headers["Content-Length"] = str(len(body))
        out = self._head()
        if body and self._request.method != "HEAD":
            out += body
        self._write(out)

    async def write_eof(self) -> None:
        """It is over: the next one on this connection waits until it is sent."""
        if self._client.writing_paused:
            await self.drained()

    def _begun(self, content_type: str) -> bytes:
        """The head of a stream. Clients of HTTP/1.0 know no chunks: the connection's end is the stream's."""
        self._streams = True
        self.status = 200
        self._chunked = self._request.version >= (1, 1)
        self.headers |= {
            "Content-Type": content_type, "Cache-Control": "no-cache", "X-Accel-Buffering": "no",
        }  # fmt: skip
        if self._chunked:
            self.headers["Transfer-Encoding"] = "chunked"
        else:
            self.keep_alive = False
        return self._head()

    def _head(self) -> bytes:
        major, minor = self._request.version
        headers, status = self.headers, self.status
        if not self.keep_alive:
            headers["Connection"] = "close"
        elif minor == 0:
            headers["Connection"] = "keep-alive"
        said = "\r\n".join(map(": ".join, headers.items()))
        breaks = len(headers) - 1
        if said.count("\n") != breaks or said.count("\r") != breaks:
            raise ValueError("a line break in a header of the reply")  # it would begin another header
        return (
            f"HTTP/{major}.{minor} {status} {_REASONS.get(status, '')}\r\n"
            f"{said}\r\nServer: bridge\r\nDate: {self._dates()}\r\n\r\n"
        ).encode("utf-8", "surrogateescape")

    def _write(self, data: bytes) -> None:
        wire = self._client.transport
        if wire is None or wire.is_closing():
            raise ConnectionResetError("the client has left")
        self._request.answered = True
        wire.write(data)


_REASONS = {status.value: status.phrase for status in HTTPStatus}
