r"""Messages that say their own length: AWS event streams, and what a websocket brings.

    eventstream   length, length of headers, CRC │ headers │ payload │ CRC       (big-endian, CRC-32)
    websocket     length │ payload             as `message` writes it: the websocket itself cut them

Sources: the AWS event stream encoding (application/vnd.amazon.eventstream) as botocore's service models use
it. A message's headers become the frame's fields under their own names; besides, `event` is the type of the
event, and `error` for an exception, as an SSE event would say it.
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

__all__ = ["EventStreamFramer", "MessageFramer", "message"]

_PRELUDE = 12  # bytes: two lengths and the CRC of them
_CRC = 4
_LENGTH = 4


def message(payload: bytes) -> bytes:
    """A message of a websocket as `MessageFramer` takes it."""
    return len(payload).to_bytes(_LENGTH, "big") + payload


class _Cutter:
    """Cuts messages of known length; `measure` reads the length of the whole from so many first bytes."""

    __slots__ = ("_ahead", "_held", "_measure")

    def __init__(self, ahead: int, measure: Callable[[bytes], int]) -> None:
        self._ahead = ahead
        self._measure = measure
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        held = self._held
        held += data
        while len(held) >= self._ahead and len(held) >= (size := self._measure(bytes(held[: self._ahead]))):
            whole = bytes(held[:size])
            del held[:size]
            yield whole

    def close(self) -> None:
        """Raise where the body ended inside a message."""
        if self._held:
            raise UpstreamError(
                UpstreamFailure.DISCONNECT, "the upstream's stream broke off in the middle of a message"
            )


class MessageFramer:
    """Frames are the messages of a websocket; empty ones are keep-alives."""

    __slots__ = ("_cutter", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._cutter = _Cutter(_LENGTH, self._size)

    def feed(self, data: bytes) -> Iterator[Frame]:
        for whole in self._cutter.feed(data):
            if len(whole) > _LENGTH:
                yield Frame(whole[_LENGTH:])

    def close(self) -> Iterator[Frame]:
        self._cutter.close()
        return iter(())

    def _size(self, ahead: bytes) -> int:
        size = int.from_bytes(ahead, "big")
        if size > self._limit:
            raise too_large(self._limit)
        return _LENGTH + size


class EventStreamFramer:
    """Frames are the messages of an AWS event stream, whose checksums are held."""

    __slots__ = ("_cutter", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._cutter = _Cutter(_PRELUDE, self._size)

    def feed(self, data: bytes) -> Iterator[Frame]:
        for whole in self._cutter.feed(data):
            if _number(whole[-_CRC:]) != crc32(whole[:-_CRC]):
                raise _garbled("its checksum does not hold")
            behind = _PRELUDE + _number(whole[4:8])
            fields = _fields(whole[_PRELUDE:behind])
            yield Frame(whole[behind:-_CRC] or _reported(fields), fields)

    def close(self) -> Iterator[Frame]:
        self._cutter.close()
        return iter(())

    def _size(self, ahead: bytes) -> int:
        if _number(ahead[8:]) != crc32(ahead[:8]):
            raise _garbled("the checksum of its lengths does not hold (is it an event stream at all?)")
        size, headers = _number(ahead[:4]), _number(ahead[4:8])
        if size > self._limit + _PRELUDE + _CRC:
            raise too_large(self._limit)
        if size < _PRELUDE + headers + _CRC:
            raise _garbled("its headers are longer than all of it")
        return size


def _fields(data: bytes) -> Mapping[str, str]:
    """The headers: name and value each, of which texts are kept."""
    fields: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            behind = at + 1 + data[at]
            name = data[at + 1 : behind].decode()
            kind, at = data[behind], behind + 1
            size = _SIZES[kind]
            if size is None:
                size = int.from_bytes(data[at : at + 2], "big")
                at += 2
            if at + size > len(data):
                raise _garbled("one of its headers is cut off")
            if kind == _TEXT:
                fields[name] = data[at : at + size].decode()
            at += size
    except (IndexError, KeyError, UnicodeDecodeError):
        raise _garbled("its headers cannot be read") from None
    if not fields:
        return NO_FIELDS
    failed = fields.get(":message-type") in ("exception", "error")
    event = "error" if failed else fields.get(":event-type")
    return fields if event is None else {**fields, "event": event}


def _reported(fields: Mapping[str, str]) -> bytes | None:
    """An error that no service has a model of has its code and message in headers, and no payload."""
    if fields.get(":message-type") != "error":
        return None
    return json.dumps({"message": fields.get(":error-message"), "code": fields.get(":error-code")})


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _garbled(why: str) -> UpstreamError:
    return UpstreamError(UpstreamFailure.MALFORMED, f"the upstream sent a message that is no event: {why}")


_TEXT: Final = 7
# Bytes of the value by its type: true, false, byte, short, integer, long, bytes and text, which say their own
# length, a timestamp, a UUID.
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 6: None, _TEXT: None, 8: 8, 9: 16}
