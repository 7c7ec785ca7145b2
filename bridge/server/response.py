"""The response to a client, whose head is written with the first bytes of the body.

    response.set_body(status, body)                            one body, written when the handler returns
    response.write(data, type)* ─▶ response.write_eof(data)    a stream; the first piece brings the head

The head announces the end of the connection if the client requests that, or has not sent its whole request.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from operator import attrgetter
from typing import TYPE_CHECKING, Self

from aiohttp import hdrs

from bridge.core import json

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.server.request import Request

__all__ = ["DateHeader", "Response"]

_openai_error_body: Callable[[BridgeError], JSONObject] = attrgetter("envelope")


class DateHeader:
    """The end of every head: `Server` and `Date` (RFC 9110, 6.6.1), formatted once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def __call__(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._text = f"Server: bridge\r\nDate: {formatdate(second, usegmt=True)}\r\n\r\n"
        return self._text


class Response:
    """One response: a body at once, or a stream. Writing raises ConnectionResetError after a disconnect.

    id: the request id, sent as `X-Request-Id`.
    allowed_origin: the origin of a page that may read the response, or None.
    error_body: returns the body of an error in the form of the endpoint's API.
    status: the HTTP status; 0 until the response has one.
    started: whether the head of a stream has been written.
    keep_alive: whether the connection stays open after the response.
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_connection",
        "_content_type",
        "_date_header",
        "_ended",
        "_extra_headers",
        "_request",
        "allowed_origin",
        "error_body",
        "id",
        "keep_alive",
        "started",
        "status",
    )

    def __init__(
        self,
        request: Request,
        id: str,  # noqa: A002
        allowed_origin: str | None,
        date_header: DateHeader,
    ) -> None:
        self._request = request
        self._connection = request.connection
        self._date_header = date_header
        self._body: bytes | None = None
        self._content_type = ""
        self._extra_headers = ""
        self._chunked = self._ended = self.started = False
        self.id = id
        self.allowed_origin = allowed_origin
        self.error_body = _openai_error_body
        self.status = 0
        self.keep_alive = request.keep_alive
        if allowed_origin is not None:
            self.add_header(hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, allowed_origin)
            exposed = "X-Request-Id, X-Bridge-Route, X-Bridge-Dropped"
            self.add_header(hdrs.ACCESS_CONTROL_EXPOSE_HEADERS, exposed)
            self.add_header(hdrs.VARY, hdrs.ORIGIN)

    @property
    def writing_paused(self) -> bool:
        """Return whether the client is slow to read what was written."""
        return self._connection.writing_paused

    def add_header(self, name: str, value: str) -> None:
        """Add a header. Raise ValueError for a value that would begin another header."""
        if "\n" in value or "\r" in value:
            raise ValueError(f"the response's {name} contains a line break")
        self._extra_headers += f"{name}: {value}\r\n"

    def remove_header(self, name: str) -> None:
        """Remove a header that was added."""
        lines = self._extra_headers.split("\r\n")
        self._extra_headers = "\r\n".join([line for line in lines if not line.startswith(f"{name}: ")])

    def set_body(self, status: int, body: bytes, content_type: str = "application/json") -> Self:
        """Set the status and the body."""
        self.status = status
        self._body = body
        self._content_type = content_type
        return self

    def set_error(self, error: BridgeError) -> Self:
        """Set the status, the headers and the body of an error."""
        for name, value in error.headers.items():
            self.add_header(name, value)
        if error.retry_after is not None:
            self.add_header(hdrs.RETRY_AFTER, error.retry_after)
        if error.status == 401:
            self.add_header(hdrs.WWW_AUTHENTICATE, "Bearer")
        return self.set_body(error.status, json.dumps(self.error_body(error)))

    def set_preflight(self) -> Self:
        """Set the answer to a browser that asks whether a page may call."""
        requested = self._request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS)
        self.add_header(hdrs.ACCESS_CONTROL_ALLOW_METHODS, "GET, POST")
        self.add_header(hdrs.ACCESS_CONTROL_ALLOW_HEADERS, requested or "*")
        self.add_header(hdrs.ACCESS_CONTROL_MAX_AGE, "600")
        self.status = 204
        return self

    def write(self, data: bytes, content_type: str) -> bool:
        """Write a piece of a stream. Return whether the client accepts more at once."""
        head = b"" if self.started else self._start_stream(content_type)
        if self._chunked:
            return self._connection.write(b"".join((head, _size_line(len(data)), data, b"\r\n")))
        return self._connection.write(head + data)

    async def drain(self) -> None:
        """Wait until the client accepts more."""
        await self._connection.drain()

    def cancel(self) -> None:
        """Cancel the task that answers the request."""
        self._connection.cancel()

    def write_eof(self, data: bytes = b"") -> Self:
        """Write the end of a stream, with its last piece. Further calls have no effect."""
        if self._ended:
            return self
        self._ended = True
        if self._chunked:
            self._connection.write((b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n")
        elif data:
            self._connection.write(data)
        return self

    def flush(self) -> None:
        """Write the response, unless the response is a stream."""
        if self.started:
            return
        body = self._body
        if body is None:
            self._connection.write(self._head(""))
            return
        head = self._head(f"Content-Type: {self._content_type}\r\nContent-Length: {len(body)}\r\n")
        self._connection.write(head if self._request.method == hdrs.METH_HEAD else head + body)

    def _start_stream(self, content_type: str) -> bytes:
        """Return the head of a stream."""
        self.started = True
        self.status = 200
        self._chunked = self._request.is_http11
        headers = f"Content-Type: {content_type}\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"
        if self._chunked:
            return self._head(headers + "Transfer-Encoding: chunked\r\n")
        self.keep_alive = False  # HTTP/1.0 has no chunks: the end of the connection is the end of the stream
        return self._head(headers)

    def _head(self, headers: str) -> bytes:
        request, status, connection = self._request, self.status, ""
        if not self.keep_alive or request.body_incomplete or self._connection.closing:
            self.keep_alive = False
            connection = "Connection: close\r\n"
        elif not request.is_http11:
            connection = "Connection: keep-alive\r\n"
        return (
            f"HTTP/{'1.1' if request.is_http11 else '1.0'} {_STATUS_LINES.get(status) or f'{status} '}\r\n"
            f"X-Request-Id: {self.id}\r\n{self._extra_headers}{headers}{connection}{self._date_header()}"
        ).encode("utf-8", "surrogateescape")


@lru_cache(4096)  # formatting a number costs as much as writing a short chunk
def _size_line(size: int) -> bytes:
    """Return the line before a chunk of `size` bytes (RFC 9112, 7.1)."""
    return b"%x\r\n" % size


_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
