"""Frames that end at a separator: newline-delimited and NUL-delimited JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.ascii_codes import LF
from bridge.core.frames import Frame
from bridge.framing.buffer import FrameBuffer, too_large

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LineFramer"]


class LineFramer:
    """Cuts frames at `separator` and at newlines. Blank frames are keep-alives and are dropped."""

    __slots__ = ("_buffer", "_limit", "_separator")

    def __init__(self, limit: int, separator: bytes) -> None:
        self._limit = limit
        self._separator = separator
        self._buffer = FrameBuffer(limit)

    def feed(self, data: bytes) -> Iterator[Frame]:
        if self._separator != b"\n":
            data = data.replace(self._separator, b"\n")
        if LF not in data:
            self._buffer.append(data)
            return
        # bytes.split, not splitlines: only these separators end a frame, U+2028 does not.
        *lines, rest = self._buffer.take(data).split(b"\n")
        for line in lines:
            yield from self._frame(line)
        if rest:
            self._buffer.append(rest)

    def close(self) -> Iterator[Frame]:
        yield from self._frame(self._buffer.take())

    def _frame(self, line: bytes) -> Iterator[Frame]:
        if len(line) > self._limit:
            raise too_large(self._limit)  # finished frames too: the limit must not depend on the cuts
        if line and not line.isspace():
            yield Frame(line)
