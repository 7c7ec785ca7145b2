"""A client's request: the parts of a parsed message that the bridge reads, and the body.

    request.method, request.path, request.headers.get("Origin")
    request.buffered_body()         the body, if all of it has arrived
    await request.read_chunk()      else piece by piece; b"" is the end

`aiohttp.web.BaseRequest` is not used: creating it costs more than reading everything that the bridge needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from aiohttp import hdrs
from aiohttp.http import HttpVersion10, HttpVersion11
from aiohttp.streams import EMPTY_PAYLOAD

from bridge.core.errors import RequestError

if TYPE_CHECKING:
    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

    from bridge.server.http_protocol import HTTPProtocol

__all__ = ["Request", "content_length", "invalid_http"]


class Request:
    """One request.

    connection: the connection that the request arrived on.
    method: the HTTP method, in upper case.
    target: the request target, as in the first line.
    headers: the headers; of several headers with one name, `get` returns the first.
    is_http11: whether the client speaks HTTP/1.1, not HTTP/1.0.
    keep_alive: whether the connection stays open after the response.
    error: the reason why the request as a whole is invalid, or None.
    """

    __slots__ = (
        "_body",
        "connection",
        "error",
        "headers",
        "is_http11",
        "keep_alive",
        "method",
        "target",
    )

    def __init__(
        self,
        message: RawRequestMessage,
        body: StreamReader,
        connection: HTTPProtocol,
        error: RequestError | None = None,
    ) -> None:
        self._body = body
        self.connection = connection
        self.method = message.method
        self.target = message.path
        self.headers = message.headers
        self.is_http11 = message.version is HttpVersion11
        if not self.is_http11 or message.chunked:
            error = error or _validate(message)
        self.error = error
        self.keep_alive = error is None and not message.should_close and self.method != hdrs.METH_CONNECT

    @property
    def path(self) -> str:
        """The path of the target, unquoted (RFC 9112, 3.2)."""
        target = self.target
        if not target.startswith(("/", "*")):
            try:
                target = urlsplit(target).path
            except ValueError:  # an invalid host
                return "/"
        path = target.partition("?")[0].partition("#")[0]
        return unquote(path) if "%" in path else path

    @property
    def body_incomplete(self) -> bool:
        """Return whether some of the body has not arrived yet."""
        return not self._body.is_eof()

    @property
    def received(self) -> int:
        """The bytes of the body that have arrived."""
        return self._body.total_bytes

    def buffered_body(self) -> bytes | None:
        """Return the body, or None if some of it has not arrived yet."""
        if not self._body.is_eof():
            return None
        if self._body is EMPTY_PAYLOAD:
            return b""
        pieces = self._body._buffer  # noqa: SLF001 - read_nowait() costs 3 % of a short response
        body = b"".join(pieces)
        pieces.clear()
        return body

    async def read_chunk(self) -> bytes:
        """Return what has arrived of the body since the last call, b"" at the end. Raise RequestError."""
        return await self._body.readany()


def content_length(head: Request | RawRequestMessage) -> int:
    """Return the length of a body in bytes, as the head announces."""
    # Leading zeros are valid, even so many that int() would raise ValueError.
    return int(head.headers.get(hdrs.CONTENT_LENGTH, "").lstrip("0") or 0)


def invalid_http(reason: str) -> RequestError:
    """Return the error of a request that is not valid HTTP."""
    return RequestError(400, f"the request is not valid HTTP: {reason}", code="bad_request")


def _validate(message: RawRequestMessage) -> RequestError | None:
    """Return the reason why a message is invalid although aiohttp's parser accepts it, or None."""
    if message.version not in (HttpVersion10, HttpVersion11):
        return invalid_http("expected HTTP/1.1 or HTTP/1.0")
    if message.chunked:
        # A proxy in front that does not know the coding would see another end of the body (RFC 9112, 6.1).
        if message.version == HttpVersion10:
            return invalid_http("Transfer-Encoding is not allowed in HTTP/1.0")
        if message.headers[hdrs.TRANSFER_ENCODING].lower() != "chunked":
            return invalid_http("Transfer-Encoding is not supported: expected chunked")
    return None
