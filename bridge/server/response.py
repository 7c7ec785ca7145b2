"""The way back to the client: a head that is held until there is something to say.

    reply.whole(status, body)                          one body, sent when the handler returns it
    reply.put(data)* ─▶ reply.end(data)                a stream; its first piece brings the head

A reply is the last one on its connection where the client wants it so, or has not sent all of its request.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from bridge.core import json

if TYPE_CHECKING:
    from bridge.core.errors import BridgeError
    from bridge.server.request import Request

__all__ = ["DateHeader", "Response"]


class DateHeader:
    """What every head ends with: who answers, and the time of day (RFC 9110, 6.6.1), made once a second."""

    __slots__ = ("_second", "_shown")

    def __init__(self) -> None:
        self._second = 0
        self._shown = ""

    def __call__(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._shown = f"Server: bridge\r\nDate: {formatdate(second, usegmt=True)}\r\n\r\n"
        return self._shown


class Response:
    """One reply: whole, or in pieces. `id` is the request's, `cors` the origin that may read it.

    What is written raises ConnectionResetError where the client has left.
    """

    __slots__ = (
        "_body", "_chunked", "_client", "_dates", "_ended", "_extra_headers", "_request", "_streams", "_type",
        "allowed_origin", "id", "keep_alive", "status",
    )  # fmt: skip

    def __init__(self, request: Request, id: str, cors: str | None, dates: DateHeader) -> None:  # noqa: A002
        self._request = request
        self._client = request.connection
        self._dates = dates
        self._body: bytes | None = None
        self._type = ""
        self._streams = False
        self._chunked = False
        self._ended = False
        self.id = id
        self.allowed_origin = cors
        self.status = 0
        self.keep_alive = request.keep_alive
        self._extra_headers = ""
        if cors is not None:
            self.add_header("Access-Control-Allow-Origin", cors)
            self.add_header("Access-Control-Expose-Headers", "X-Request-Id, X-Bridge-Route, X-Bridge-Dropped")
            self.add_header("Vary", "Origin")

    @property
    def started(self) -> bool:
        """Whether some of a stream was sent."""
        return self._streams

    def add_header(self, name: str, value: str) -> None:
        """A header. Raises ValueError where it would begin another one."""
        if "\n" in value or "\r" in value:
            raise ValueError(f"a line break in the reply's {name}")
        self._extra_headers += f"{name}: {value}\r\n"

    def set_body(self, status: int, body: bytes, content_type: str = "application/json") -> Self:
        """The reply in one piece."""
        self.status = status
        self._body = body
        self._type = content_type
        return self

    def set_error(self, error: BridgeError) -> Self:
        """An error's envelope, under its own status."""
        for name, value in error.headers.items():
            self.add_header(name, value)
        if error.retry_after is not None:
            self.add_header("Retry-After", error.retry_after)
        if error.status == 401:
            self.add_header("WWW-Authenticate", "Bearer")
        return self.set_body(error.status, json.dumps(error.envelope))

    def preflight(self) -> Self:
        """What a browser asks before a page may call."""
        wanted = self._request.header(b"access-control-request-headers")
        self.add_header("Access-Control-Allow-Methods", "GET, POST")
        self.add_header("Access-Control-Allow-Headers", wanted or "*")
        self.add_header("Access-Control-Max-Age", "600")
        self.status = 204
        return self

    def write(self, data: bytes, content_type: str) -> bool:
        """A piece of a stream; whether the client takes more at once."""
        head = b"" if self._streams else self._start_stream(content_type)
        if self._chunked:
            self._client.write(b"%b%x\r\n%b\r\n" % (head, len(data), data))
        else:
            self._client.write(head + data)
        return not self._client.writing_paused

    async def drain(self) -> None:
        """Wait until the client takes more."""
        await self._client.drain()

    def write_eof(self, data: bytes = b"") -> Self:
        """The end of a stream that has begun, and its last piece; once."""
        if self._ended:
            return self
        self._ended = True
        if self._chunked:
            self._client.write((b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n")
        elif data:
            self._client.write(data)
        return self

    def flush(self) -> None:
        """Send it, if it is not a stream."""
        if self._streams:
            return
        body = self._body
        if body is None:
            self._client.write(self._head(""))
            return
        head = self._head(f"Content-Type: {self._type}\r\nContent-Length: {len(body)}\r\n")
        self._client.write(head if self._request.method == "HEAD" else head + body)

    def _start_stream(self, content_type: str) -> bytes:
        """The head of a stream. Clients of HTTP/1.0 know no chunks: the connection's end is the stream's."""
        self._streams = True
        self.status = 200
        self._chunked = self._request.is_http11
        said = f"Content-Type: {content_type}\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"
        if self._chunked:
            return self._head(said + "Transfer-Encoding: chunked\r\n")
        self.keep_alive = False
        return self._head(said)

    def _head(self, said: str) -> bytes:
        request, status, kept = self._request, self.status, ""
        if not self.keep_alive or request.body_incomplete or self._client.closing:
            self.keep_alive = False
            kept = "Connection: close\r\n"
        elif not request.is_http11:
            kept = "Connection: keep-alive\r\n"
        return (
            f"HTTP/{'1.1' if request.is_http11 else '1.0'} {_STATUSES.get(status) or f'{status} '}\r\n"
            f"X-Request-Id: {self.id}\r\n{self._extra_headers}{said}{kept}{self._dates()}"
        ).encode("utf-8", "surrogateescape")


_STATUSES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
