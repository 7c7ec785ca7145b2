"""JSON values without separators: one after another, or as the elements of one array.

    b'{"a":1}{"a":2}'          ValueFramer ─▶  b'{"a":1}', b'{"a":2}'
    b'[{"a":1},\r\n{"a":2}]'   ArrayFramer ─▶  b'{"a":1}', b'{"a":2}'

The scanner only counts brackets outside of strings. Invalid JSON is found by the reader of the frames.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.frames import Frame
from bridge.framing.buffer import FrameBuffer, too_large

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ArrayFramer", "ValueFramer"]

_BETWEEN = re.compile(rb"[\s,\0]*")
_BRACKET = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')
_NOT_IN_SCALAR = re.compile(rb"[\s,\0\[\]{}\"]")


class ValueFramer:
    """Cuts JSON values that follow one another, with white space, commas or NUL between them."""

    __slots__ = ("_buffer", "_depth", "_escaped", "_inside", "_limit", "_scalar", "_string")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = FrameBuffer(limit)
        self._inside = False  # a value
        self._scalar = False  # the value is a number or a word, which ends at the first byte of anything else
        self._string = False  # inside a string of the value
        self._escaped = False  # after a backslash in that string
        self._depth = 0  # open brackets of the value

    def feed(self, data: bytes) -> Iterator[Frame]:
        position = 0
        while position < len(data):
            if not self._inside:
                position = self._skip(data, position)
                if position == len(data):
                    return
                self._inside = True
                self._scalar = data[position : position + 1] not in (b"{", b"[", b'"')
            end = self._scalar_end(data, position) if self._scalar else self._end(data, position)
            if end is None:
                self._buffer.append(data[position:])
                return
            yield self._frame(self._buffer.take(data[position:end]))
            position = end

    def close(self) -> Iterator[Frame]:
        rest = self._buffer.take()
        if rest:
            yield self._frame(rest)

    def _frame(self, value: bytes) -> Frame:
        if len(value) > self._limit:
            raise too_large(self._limit)
        self._inside = self._string = False
        self._depth = 0
        return Frame(value)

    def _skip(self, data: bytes, position: int) -> int:
        """Return the position at which the next value begins."""
        match = _BETWEEN.match(data, position)
        return match.end() if match else position

    def _scalar_end(self, data: bytes, position: int) -> int | None:
        """Return the position after the scalar that began, or None while the scalar may go on."""
        match = _NOT_IN_SCALAR.search(data, position)
        if match and match.start() == position and not self._buffer.size:
            # A closing bracket without its opening one is invalid JSON, but must not stop the scan.
            return position + 1
        return match.start() if match else None

    def _end(self, data: bytes, position: int) -> int | None:
        """Return the position after the value that began, or None while the value goes on."""
        while True:
            if self._string:
                end = self._string_end(data, position)
                if end is None or self._depth == 0:
                    return end
                position = end
            match = _BRACKET.search(data, position)
            if match is None:
                return None
            position = match.end()
            if match[0] == b'"':
                self._string = True
                continue
            self._depth += 1 if match[0] in b"{[" else -1
            if self._depth == 0:
                return position

    def _string_end(self, data: bytes, position: int) -> int | None:
        """Return the position after the closing quote, or None while the string goes on."""
        if self._escaped and position < len(data):
            self._escaped = False
            position += 1
        while match := _IN_STRING.search(data, position):
            position = match.end()
            if match[0] == b'"':
                self._string = False
                return position
            if position == len(data):
                self._escaped = True
                return None
            position += 1
        return None


class ArrayFramer(ValueFramer):
    """Cuts the elements of one array. Values that are not in an array are frames too."""

    __slots__ = ("_closed", "_opened")

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._opened = False
        self._closed = False

    def close(self) -> Iterator[Frame]:
        yield from super().close()
        if self._opened and not self._closed:
            raise UpstreamError(
                UpstreamFailure.DISCONNECT, "the upstream's response ended inside its JSON array"
            )

    def _skip(self, data: bytes, position: int) -> int:
        position = super()._skip(data, position)
        if not (self._opened or self._closed) and data[position : position + 1] == b"[":
            self._opened = True
            position = super()._skip(data, position + 1)
        while data[position : position + 1] == b"]":
            self._closed = True
            position = super()._skip(data, position + 1)
        return position
