"""JSON values that end where they end: one after another, or as the elements of one long array.

    b'{"a":1}{"a":2}'          ValueFramer ─▶  b'{"a":1}', b'{"a":2}'
    b'[{"a":1},\r\n{"a":2}]'   ArrayFramer ─▶  the same

The scanner only counts brackets outside of strings; whether a value is JSON is for its reader to say.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.frames import Frame
from bridge.framing.buffer import Tail, too_large

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ArrayFramer", "ValueFramer"]

_BETWEEN = re.compile(rb"[\s,\0]*")
_BRACKET = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')
_NOT_IN_SCALAR = re.compile(rb"[\s,\0\[\]{}\"]")


class ValueFramer:
    """Frames are JSON values, one after another; white space, commas and NUL between them are skipped."""

    __slots__ = ("_depth", "_escaped", "_inside", "_limit", "_scalar", "_string", "_tail")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = Tail(limit)
        self._inside = False  # of a value
        self._scalar = False  # which has no brackets or quotes: it ends at whatever cannot be in it
        self._string = False  # inside of a string in it
        self._escaped = False  # behind a backslash in that
        self._depth = 0  # open brackets

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
                self._tail.hold(data[position:])
                return
            yield self._frame(self._tail.join(data[position:end]))
            position = end

    def close(self) -> Iterator[Frame]:
        rest = self._tail.join()
        if rest:
            yield self._frame(rest)

    def _frame(self, value: bytes) -> Frame:
        if len(value) > self._limit:
            raise too_large(self._limit)
        self._inside = self._string = False
        self._depth = 0
        return Frame(value)

    def _skip(self, data: bytes, position: int) -> int:
        """Where the next value begins."""
        match = _BETWEEN.match(data, position)
        return match.end() if match else position

    def _scalar_end(self, data: bytes, position: int) -> int | None:
        match = _NOT_IN_SCALAR.search(data, position)
        if match and match.start() == position and not self._tail.size:
            return position + 1  # a closing bracket that nothing opened: no JSON, but it must not stop us
        return match.start() if match else None

    def _end(self, data: bytes, position: int) -> int | None:
        """Behind the value that is being read, None while it goes on."""
        while True:
            if self._string:
                behind = self._string_end(data, position)
                if behind is None or self._depth == 0:
                    return behind
                position = behind
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
        """Behind the closing quote of the string that is being read, None while it goes on."""
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
    """Frames are the elements of one array. A lone value in its place is taken as it is."""

    __slots__ = ("_closed", "_opened")

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._opened = False
        self._closed = False

    def close(self) -> Iterator[Frame]:
        yield from super().close()
        if self._opened and not self._closed:
            raise UpstreamError(
                UpstreamFailure.DISCONNECT, "the upstream's answer ended inside of its JSON array"
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
