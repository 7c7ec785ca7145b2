"""The bytes of a connection, cut into requests and parsed by aiohttp.

aiohttp's parser accepts several requests in one call, but drops those before an invalid request and those
after a request with `Upgrade`, and takes the trailers of a request for headers of the next one. So the parser
receives parts that end where a head or a body ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp.http import HttpProcessingError, HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD

from bridge.server.request import content_length, invalid_http

if TYPE_CHECKING:
    import asyncio

    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

    from bridge.core.errors import RequestError
    from bridge.server.http_protocol import HTTPProtocol

__all__ = ["RequestParser"]

_MAX_LINE_SIZE = 8190  # bytes of a target, or of a header
_MAX_HEAD_SIZE = 2**16  # bytes of the first line and all headers
_MAX_CHUNK_FRAMING = 2**20  # bytes of a chunked body's sizes, extensions and trailers
_BUFFER_SIZE = 2**17  # bytes of a body that are read in advance; aiohttp stops reading at twice that
_CHUNKED = -1  # instead of the number of bytes that a body still lacks


class RequestParser:
    """The parser of one connection, whose methods accept the requests.

    head_size: bytes of a head that is not complete; 0 between requests and within a body.
    invalid: whether bytes arrived that are not HTTP. The bytes after them are ignored.
    """

    __slots__ = (
        "_at_boundary",  # whether the next byte begins a request
        "_body",  # the body of the last request
        "_connection",
        "_fed",  # bytes of a chunked body that have arrived, sizes and extensions included
        "_framing",  # those that arrived after the last byte of the body itself: the parser keeps trailers
        "_left",  # bytes of the body that have not arrived, or _CHUNKED
        "_loop",
        "_parser",
        "_tail",  # up to 3 bytes at the end of an unfinished head or chunked body
        "_unparsed",  # bytes that wait while reading is paused
        "head_size",
        "invalid",
    )

    def __init__(self, connection: HTTPProtocol, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._parser = self._make_parser()
        self._at_boundary = True
        self.invalid = False
        self._body: StreamReader = EMPTY_PAYLOAD
        self._left = self._fed = self._framing = self.head_size = 0
        self._tail = self._unparsed = b""

    def _make_parser(self) -> HttpRequestParser:
        return HttpRequestParser(
            self._connection,
            self._loop,
            _BUFFER_SIZE,
            max_line_size=_MAX_LINE_SIZE,
            max_field_size=_MAX_LINE_SIZE,
            auto_decompress=False,
        )

    def pause_reading(self) -> None:
        """Stop parsing: the body that is being parsed is full."""
        self._parser.pause_reading()

    def reject(self, error: RequestError) -> None:
        """End the request that is being received with an error, and ignore the bytes after it."""
        self.invalid = True
        self._at_boundary = False
        if self._body.is_eof():
            self._connection.request_rejected(error)
        else:
            self._body.set_exception(error)

    def feed(self, data: bytes) -> None:
        """Parse bytes; b"" after a pause."""
        # A longer body could pause reading, which a second try by parts would not resume.
        if self._at_boundary and len(data) <= 2 * _BUFFER_SIZE and self._parse_request(data):
            return
        if not data and not self._body.is_eof():
            self._parse(data)  # the bytes of the body that the parser holds
        if self._unparsed:
            data, self._unparsed = self._unparsed + data, b""
        start = 0
        while start < len(data) and not self.invalid:
            if self._connection.reading_paused:
                self._unparsed = data[start:]
                break
            end = self._part_end(data, start)
            self._parse(data[start:end])
            start = end
        incomplete = self._left or self.head_size or not self._body.is_eof()
        self._at_boundary = not (incomplete or self._unparsed or self.invalid)

    def _parse_request(self, data: bytes) -> bool:
        """Parse a request with a complete head: the usual case. Return False for other data."""
        try:
            messages, _, _ = self._parser.feed_data(data)
        except HttpProcessingError:
            messages = []
        if len(messages) == 1:
            message, body = messages[0]
            head_size = data.find(b"\r\n\r\n") + 4
            complete = body.is_eof()
            exact = not complete or head_size + body.total_bytes == len(data)
            if exact and head_size <= _MAX_HEAD_SIZE and not (message.chunked or message.upgrade):
                self._body = body
                if not complete:
                    self._left = content_length(message) - body.total_bytes
                    self._at_boundary = False
                self._connection.request_received(message, body)
                return True
        self._parser = self._make_parser()  # to parse the data part by part
        return False

    def _part_end(self, data: bytes, start: int) -> int:
        """Return the index up to which data belongs to one part: a head, or a piece of a body."""
        if self._left > 0:
            return min(start + self._left, len(data))
        # Heads end with an empty line. So do chunked bodies, inside of which a cut does no harm.
        if self._tail:
            end = (self._tail + data[start : start + 3]).find(b"\r\n\r\n")
            if end >= 0:
                return start + end + 4 - len(self._tail)
        end = data.find(b"\r\n\r\n", start)
        return len(data) if end < 0 else end + 4

    def _parse(self, part: bytes) -> None:
        size_before = self._body.total_bytes
        try:
            messages, upgraded, _ = self._parser.feed_data(part)
        except HttpProcessingError as error:
            self.reject(invalid_http(error.message.partition("\n")[0].rstrip(":")))
            return
        if upgraded:  # no upgrade is accepted: the connection goes on with HTTP/1.1
            self._parser.set_upgraded(False)
        if messages:
            self._head_received(*messages[0], len(part))
        elif self._left > 0:
            self._left -= len(part)
        elif self._left == _CHUNKED:
            self._chunks_received(part, size_before)
        else:
            self._head_continued(part)

    def _head_received(self, message: RawRequestMessage, body: StreamReader, size: int) -> None:
        size += self.head_size
        self._fed = self._framing = self.head_size = 0
        self._tail = b""
        if size > _MAX_HEAD_SIZE:
            self.reject(invalid_http(f"the head is over {_MAX_HEAD_SIZE} bytes"))
            return
        self._body = body
        if not body.is_eof():
            self._left = _CHUNKED if message.chunked else content_length(message)
        self._connection.request_received(message, body)

    def _head_continued(self, part: bytes) -> None:
        if not self.head_size and not part.strip(b"\r\n"):
            return  # some clients send a line break after a body
        self._tail = (self._tail + part)[-3:]
        self.head_size += len(part)
        if self.head_size > _MAX_HEAD_SIZE:
            self.reject(invalid_http(f"the head is over {_MAX_HEAD_SIZE} bytes"))

    def _chunks_received(self, part: bytes, size_before: int) -> None:
        """Count a part of a chunked body; `size_before`: bytes of the body itself before the part."""
        body = self._body
        self._fed += len(part)
        self._framing = self._framing + len(part) if body.total_bytes == size_before else 0
        if body.is_eof():
            self._left, self._tail = 0, b""
            self._parser = self._make_parser()  # the old one may hold a trailer
        else:
            self._tail = (self._tail + part)[-3:]
        parsed = not self._connection.reading_paused
        if parsed and self._framing > _MAX_HEAD_SIZE:
            self.reject(invalid_http(f"the trailers or an extension are over {_MAX_HEAD_SIZE} bytes"))
        elif parsed and self._fed - body.total_bytes > _MAX_CHUNK_FRAMING:
            self.reject(
                invalid_http(f"the chunks have over {_MAX_CHUNK_FRAMING} bytes of sizes and extensions")
            )
