"""Frames that end at a separator: newline-delimited and NUL-delimited JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.frames import Frame
from bridge.framing.buffer import Tail, too_large

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LineFramer"]


class LineFramer:
    """Frames end at `separator` or at a newline; blank ones are keep-alives."""

    __slots__ = ("_limit", "_separator", "_tail")

    def __init__(self, limit: int, separator: bytes) -> None:
        self._limit = limit
        self._separator = separator
        self._tail = Tail(limit)

    @property
    def idle(self) -> bool:
        """Whether a frame could begin with the next byte, and nothing is held of one."""
        return not self._tail.size

    def feed(self, data: bytes) -> Iterator[Frame]:
        if self._separator != b"\n":
            data = data.replace(self._separator, b"\n")
        if b"\n" not in data:
            self._tail.hold(data)
            return
        # bytes.split, not splitlines: only these separators end a frame, U+2028 does not.
        *lines, rest = self._tail.join(data).split(b"\n")
        for line in lines:
            yield from self._frame(line)
        if rest:
            self._tail.hold(rest)

    def close(self) -> Iterator[Frame]:
        yield from self._frame(self._tail.join())

    def _frame(self, line: bytes) -> Iterator[Frame]:
        if len(line) > self._limit:
            raise too_large(self._limit)  # finished lines too: the limit must not depend on the cut
        if line and not line.isspace():
            yield Frame(line)
