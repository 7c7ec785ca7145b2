"""Messages that begin with their length: AWS event streams, and the messages of a WebSocket.

    eventstream   length, length of headers, CRC │ headers │ payload │ CRC       (big-endian, CRC-32)
    websocket     length │ payload       as `encode_message` writes the messages that aiohttp received

Source: the AWS event stream encoding (application/vnd.amazon.eventstream) as botocore's service models use
it. The headers of a message become the fields of the frame. Like the field of an SSE event, `event` is the
type of the event, or `error` for an exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from bridge.core import json
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.frames import NO_FIELDS, Frame
from bridge.framing.buffer import too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["EventStreamFramer", "MessageFramer", "encode_message"]

_PRELUDE = 12  # bytes: two lengths and the CRC of them
_CRC = 4
_LENGTH = 4


def encode_message(payload: bytes) -> bytes:
    """Return a message of a WebSocket in the encoding that `MessageFramer` reads."""
    return len(payload).to_bytes(_LENGTH, "big") + payload


class _Splitter:
    """Splits a body into messages, whose length is read from their prelude."""

    __slots__ = ("_buffer", "_message_size", "_prelude_size")

    def __init__(self, prelude_size: int, message_size: Callable[[bytes], int]) -> None:
        self._prelude_size = prelude_size  # bytes
        self._message_size = message_size  # bytes of a message with its prelude, from the prelude
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        buffer, prelude_size = self._buffer, self._prelude_size
        buffer += data
        while len(buffer) >= prelude_size:
            size = self._message_size(bytes(buffer[:prelude_size]))
            if len(buffer) < size:
                return
            message = bytes(buffer[:size])
            del buffer[:size]
            yield message

    def close(self) -> None:
        """Raise UpstreamError if the body ended inside a message."""
        if self._buffer:
            raise UpstreamError(UpstreamFailure.DISCONNECT, "the upstream's stream ended inside a message")


class MessageFramer:
    """Cuts the messages of a WebSocket. Empty messages are keep-alives and are dropped."""

    __slots__ = ("_limit", "_splitter")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._splitter = _Splitter(_LENGTH, self._size)

    def feed(self, data: bytes) -> Iterator[Frame]:
        for message in self._splitter.feed(data):
            if len(message) > _LENGTH:
                yield Frame(message[_LENGTH:])

    def close(self) -> Iterator[Frame]:
        self._splitter.close()
        return iter(())

    def _size(self, prelude: bytes) -> int:
        size = _number(prelude)
        if size > self._limit:
            raise too_large(self._limit)
        return _LENGTH + size


class EventStreamFramer:
    """Cuts the messages of an AWS event stream, and verifies their checksums."""

    __slots__ = ("_limit", "_splitter")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._splitter = _Splitter(_PRELUDE, self._size)

    def feed(self, data: bytes) -> Iterator[Frame]:
        for message in self._splitter.feed(data):
            if _number(message[-_CRC:]) != crc32(message[:-_CRC]):
                raise _malformed("its checksum is wrong")
            payload = _PRELUDE + _number(message[4:8])
            fields = _fields(message[_PRELUDE:payload])
            yield Frame(message[payload:-_CRC] or _unmodeled_error(fields), fields)

    def close(self) -> Iterator[Frame]:
        self._splitter.close()
        return iter(())

    def _size(self, prelude: bytes) -> int:
        if _number(prelude[8:]) != crc32(prelude[:8]):
            raise _malformed("the checksum of its lengths is wrong (is the body an event stream?)")
        size, headers = _number(prelude[:4]), _number(prelude[4:8])
        if size > self._limit + _PRELUDE + _CRC:
            raise too_large(self._limit)
        if size < _PRELUDE + headers + _CRC:
            raise _malformed("its headers are longer than the message")
        return size


def _fields(data: bytes) -> Mapping[str, str]:
    """Return the headers of type text by name."""
    fields: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            end = at + 1 + data[at]
            name = data[at + 1 : end].decode()
            value_type, at = data[end], end + 1
            size = _SIZES[value_type]
            if size is None:
                size = int.from_bytes(data[at : at + 2], "big")
                at += 2
            if at + size > len(data):
                raise _malformed("one of its headers is cut off")
            if value_type == _TEXT:
                fields[name] = data[at : at + size].decode()
            at += size
    except (IndexError, KeyError, UnicodeDecodeError):
        raise _malformed("its headers are invalid") from None
    if not fields:
        return NO_FIELDS
    failed = fields.get(":message-type") in ("exception", "error")
    event = "error" if failed else fields.get(":event-type")
    return fields if event is None else {**fields, "event": event}


def _unmodeled_error(fields: Mapping[str, str]) -> bytes | None:
    """Return the body of an error without a payload, whose code and message are headers."""
    if fields.get(":message-type") != "error":
        return None
    return json.dumps({"message": fields.get(":error-message"), "code": fields.get(":error-code")})


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _malformed(reason: str) -> UpstreamError:
    return UpstreamError(UpstreamFailure.MALFORMED, f"the upstream sent an invalid event: {reason}")


_TEXT: Final = 7
# Bytes of a value by its type: true, false, byte, short, integer, long, bytes, text, a timestamp, a UUID.
# None: the value begins with its length.
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 6: None, _TEXT: None, 8: 8, 9: 16}
