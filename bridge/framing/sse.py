r"""Server-Sent Events, as the WHATWG standard says and as servers really write them.

    b'event: add\nid: 1\ndata: {"a":1}\n\n'  ─▶  Frame(b'{"a":1}', {"event": "add", "id": "1"})

Lines end with LF, CRLF or CR; there may be a BOM, comments, `data:` without its space, several `data:`
lines, fields the standard does not know, events without data, a last event without its blank line. Where
a stream was promised a whole JSON body may come, or an error as bare JSON between events: these are
`bare` frames.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.5 and 9.2.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.frames import Frame
from bridge.framing.buffer import Tail, too_large

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SSEFramer"]

_BOM = b"\xef\xbb\xbf"


class SSEFramer:
    """Frames are events: blocks of lines that end at a blank line."""

    __slots__ = ("_after_cr", "_bare", "_limit", "_marked", "_started", "_tail")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = Tail(limit)
        self._marked = False  # whether there is a BOM has been seen
        self._started = False
        self._after_cr = False
        self._bare = False

    @property
    def idle(self) -> bool:
        """Whether an event could begin with the next byte, and nothing is held of one."""
        return self._started and not (self._tail.size or self._after_cr or self._bare)

    def feed(self, data: bytes) -> Iterator[Frame]:
        if not self._started:
            data = self._start(data)
        if b"\r" in data or self._after_cr:
            data = self._unify(data)
        # Joined only where an event may end: one of many lines must not be copied for each of them.
        ends = b"\n\n" in data or (data.startswith(b"\n") and self._tail.endswith(b"\n"))
        if not ends or self._bare:
            self._tail.hold(data)
            return
        *blocks, rest = self._tail.join(data).split(b"\n\n")
        for block in blocks:
            yield from self._event(block)
        if rest:
            self._tail.hold(rest)

    def close(self) -> Iterator[Frame]:
        yield from self._event(self._tail.join().removesuffix(b"\n"))

    def _start(self, data: bytes) -> bytes:
        """Take the BOM away and see whether this is a stream at all."""
        if not self._marked:
            data = self._tail.join(data)
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._tail.hold(data)
                return b""
            data = data.removeprefix(_BOM)
            self._marked = True
        data = data.lstrip()
        self._started = bool(data)
        # No field's name begins so: it is a whole JSON body, one frame up to its end.
        self._bare = data[:1] in (b"{", b"[")
        return data

    def _unify(self, data: bytes) -> bytes:
        """Make every line end LF. A CRLF may be cut in two, so a CR's LF is awaited in the next piece."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _event(self, block: bytes) -> Iterator[Frame]:
        block = block.lstrip(b"\n")
        if len(block) > self._limit:
            raise too_large(self._limit)
        if block.startswith(b"data: ") and b"\n" not in block:
            yield Frame(block[6:])
        elif frame := _parse(block):
            yield frame


def _parse(block: bytes) -> Frame | None:
    """The event that a block of lines is, if it is more than comments."""
    if block[:1] in (b"{", b"["):
        return Frame(block, bare=True)
    data: list[bytes] = []
    fields: dict[str, str] = {}
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if not name:
            continue  # a comment
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        else:
            fields[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    if not data and not fields:
        return None
    return Frame(b"\n".join(data) if data else None, fields)
