"""The parser of HTTP/1.1 responses (RFC 9112), on top of httptools."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.headers import Headers, header_bytes, lower_names
from bridge.upstream.content_encoding import content_decoder
from bridge.upstream.errors import ProtocolError
from bridge.upstream.keep_alive import announced_idle_timeout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.upstream.content_encoding import ContentDecoder

__all__ = ["ResponseParser", "ResponseState"]

_MAX_HEAD_SIZE = 2**16  # bytes of the names and values of a response's headers
_BODILESS_STATUSES = (204, 304)


class ResponseState(Enum):
    """The state of a connection's response."""

    IDLE = auto()  # no request was sent
    AWAITED = auto()  # the request is being sent or was sent; no byte of the response has arrived
    HEAD = auto()  # a part of the head has arrived
    BODY = auto()  # the head has arrived; the body is arriving
    COMPLETE = auto()  # the whole response has arrived


_IDLE, _AWAITED, _HEAD, _BODY, _COMPLETE = ResponseState


class ResponseParser:
    """The parser of one connection's responses, one after the other."""

    __slots__ = (
        "_arrived", "_decoder", "_fields", "_head_size", "_parser", "_trailer_size", "body",
        "ends_with_connection", "error", "headers", "idle_timeout", "keep_alive", "on_body", "on_header",
        "state", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        # Per connection.
        self._fields: dict[bytes, bytes] = {}  # the header fields of the head that is arriving
        self._arrived: list[bytes] = []  # the parts of the body as they arrived, perhaps compressed
        # Callbacks of httptools that are no Python functions. Of repeated names the first is kept.
        self.on_header = self._fields.setdefault
        self.on_body = self._arrived.append
        self._parser = HttpResponseParser(self)
        # The deviations that aiohttp's parser accepts too: old model servers send them.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self.keep_alive = True  # whether the upstream accepts another request on the connection
        self.idle_timeout = 0.0  # seconds that the connection may idle
        # Per response.
        self._decoder: ContentDecoder | None = None
        self._head_size = 0  # bytes that have arrived, up to the read that completed the head
        self._trailer_size = 0  # bytes since the last part of the body
        self.state = _IDLE
        self.error: Exception | None = None  # why the response will not be complete
        self.status = 0  # 0 until the head has arrived
        self.headers: Mapping[str, str] = {}
        self.body = self._arrived  # the parts of the body that no sink has received yet, not compressed
        self.ends_with_connection = False  # whether only the end of the connection marks the end of the body

    def start(self) -> None:
        """Expect a response."""
        self.state = _AWAITED
        self.error = None
        self.status = self._head_size = self._trailer_size = 0
        self.ends_with_connection = False

    def feed(self, data: bytes) -> None:
        """Parse bytes. Raise ProtocolError or UpstreamError where they are invalid."""
        if self.state is not _BODY:
            self.state = _HEAD if self.state is _AWAITED else self.state
            self._head_size += len(data)
        parts = len(self._arrived)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            raise _cause(error) from error
        else:
            if len(self._arrived) == parts and self.state is _BODY:
                self._count_trailer(len(data))
            elif self._trailer_size:
                self._trailer_size = 0
        finally:
            if self._decoder is not None:
                self._decompress(self._decoder)
        # `on_headers_complete` checks the exact size; this bounds a head that does not end.
        if self.state is _HEAD and self._head_size > 2 * _MAX_HEAD_SIZE:
            raise _head_too_large()

    def _count_trailer(self, size: int) -> None:
        """Count bytes of a body that contain no part of the body: trailers, or the frame of a chunk."""
        self._fields.clear()  # no rule reads trailers
        self._trailer_size += size
        if self._trailer_size > _MAX_HEAD_SIZE:
            raise UpstreamError(
                UpstreamFailure.MALFORMED,
                f"the upstream's trailers are too large: expected up to {_MAX_HEAD_SIZE} bytes",
            )

    def take_body(self) -> bytes:
        """Return the body that has arrived, and forget it."""
        data = b"".join(self.body)  # no copy of a single part
        self.body.clear()
        return data

    def end(self) -> None:
        """End the body. Raise UpstreamError where its compression is incomplete."""
        if self._decoder is not None:
            self._decompress(self._decoder)
            self._decoder.close()
        self.state = _COMPLETE

    def reset(self) -> None:
        """Forget the response."""
        self._arrived.clear()
        self.body = self._arrived
        self._decoder = None
        self.state = _IDLE

    def _decompress(self, decoder: ContentDecoder) -> None:
        arrived = self._arrived.copy()
        self._arrived.clear()  # before a fault, after which no part may be read again
        for part in arrived:
            if data := decoder.feed(part):
                self.body.append(data)

    # Callbacks of httptools.

    def on_message_begin(self) -> None:
        if self.state is _COMPLETE:  # the bytes belong to no request: the connection cannot be reused
            raise ProtocolError("bytes follow its response")

    def on_headers_complete(self) -> None:
        if self._head_size > _MAX_HEAD_SIZE and header_bytes(self._fields) > _MAX_HEAD_SIZE:
            raise _head_too_large()
        fields = lower_names(self._fields)
        self._fields.clear()
        status = self._parser.get_status_code()
        if not 100 <= status <= 599:
            raise ProtocolError(f"its status is {status:03}: expected 100 to 599")
        if status < 200:
            return
        if b"keep-alive" in fields:
            self.idle_timeout = announced_idle_timeout(fields[b"keep-alive"], self.idle_timeout)
        self.ends_with_connection = not (
            b"content-length" in fields
            or status in _BODILESS_STATUSES
            or b"chunked" in fields.get(b"transfer-encoding", b"").lower()
        )
        self.headers = headers = Headers(fields)
        if b"content-encoding" in fields:
            self._decoder = content_decoder(headers["content-encoding"])
            if self._decoder is not None:
                self.body = []
        self.status = status
        self.state = _BODY

    def on_message_complete(self) -> None:
        self._fields.clear()  # of trailers, which no rule reads
        if self.state is _BODY:
            self.keep_alive = self.keep_alive and self._parser.should_keep_alive()
            self.end()


def _cause(error: HttpParserError | HttpParserUpgrade) -> Exception:
    """Return the reason why httptools stopped: an exception of a callback, or a violation of the protocol."""
    if isinstance(error, HttpParserUpgrade):
        return ProtocolError("it changes to another protocol")
    if isinstance(error, HttpParserCallbackError) and isinstance(error.__context__, Exception):
        return error.__context__
    return ProtocolError(str(error))


def _head_too_large() -> UpstreamError:
    return UpstreamError(
        UpstreamFailure.MALFORMED,
        f"the upstream's headers are too large: expected up to {_MAX_HEAD_SIZE} bytes",
    )
