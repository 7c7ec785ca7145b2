r"""Server-Sent Events, by the WHATWG standard and as servers write them.

    b'event: add\nid: 1\ndata: {"a":1}\n\n'  ─▶  Frame(b'{"a":1}', {"event": "add", "id": "1"})

Lines end with LF, CRLF or CR. A stream may have a BOM, comments, `data:` without its space, several `data:`
lines, fields that the standard lacks, events without data, and a last event without its blank line. Some
servers send a JSON body instead of a stream, or an error as JSON between events: these are `bare` frames.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.5 and 9.2.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.ascii_codes import CR, LF
from bridge.core.frames import Frame
from bridge.framing.buffer import FrameBuffer, too_large

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["SSEFramer"]

_BOM = b"\xef\xbb\xbf"


class SSEFramer:
    """Cuts events: blocks of lines that end at a blank line."""

    __slots__ = ("_after_cr", "_bare", "_bom_checked", "_buffer", "_limit", "_prefix", "_raw", "_started")

    def __init__(self, limit: int, *, raw: bool = False) -> None:
        self._limit = limit
        self._raw = raw  # a space after the colon is part of the data
        self._prefix = b"data:" if raw else b"data: "
        self._buffer = FrameBuffer(limit)
        self._bom_checked = False
        self._started = False  # a byte that is neither BOM nor white space has arrived
        self._after_cr = False  # the data ended with CR, whose LF may follow
        self._bare = False  # the body is JSON, not a stream

    def feed(self, data: bytes) -> Iterable[Frame]:
        if not self._started:
            data = self._start(data)
        if CR in data or self._after_cr:
            data = self._normalize_line_ends(data)
        if self._bare or self._buffer.size:
            data = self._join(data)
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        # Most streams send their events one by one: a generator would take twice the time.
        if not rest and len(blocks) == 1 and self._is_data_line(blocks[0]):
            return (Frame(blocks[0][len(self._prefix) :]),)
        return self._events(blocks, rest)

    def close(self) -> Iterator[Frame]:
        yield from self._event(self._buffer.take().removesuffix(b"\n"))

    def _start(self, data: bytes) -> bytes:
        """Remove the BOM and leading white space, and detect a JSON body."""
        if not self._bom_checked:
            data = self._buffer.take(data)
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._buffer.append(data)
                return b""
            data = data.removeprefix(_BOM)
            self._bom_checked = True
        data = data.lstrip()
        self._started = bool(data)
        # The name of a field cannot begin with a bracket: the body is JSON, and one frame.
        self._bare = data[:1] in (b"{", b"[")
        return data

    def _join(self, data: bytes) -> bytes:
        """Return the unfinished event followed by `data` if an event may end there, else keep both."""
        # So that an event of many lines is not copied for each line.
        buffer = self._buffer
        may_end = data.find(b"\n\n") >= 0 or (data.startswith(b"\n") and buffer.endswith(b"\n"))
        if may_end and not self._bare:
            return buffer.take(data)
        buffer.append(data)
        return b""

    def _normalize_line_ends(self, data: bytes) -> bytes:
        """Replace every end of a line by LF. The LF of a CRLF may arrive with the next data."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _events(self, blocks: Iterable[bytes], rest: bytes) -> Iterator[Frame]:
        for block in blocks:
            if self._is_data_line(block):
                yield Frame(block[len(self._prefix) :])
            else:
                yield from self._event(block)
        if rest:
            self._buffer.append(rest)

    def _is_data_line(self, block: bytes) -> bool:
        """Return whether an event is one line of data, as most are. Such a line needs no parser."""
        return block.startswith(self._prefix) and LF not in block and len(block) <= self._limit

    def _event(self, block: bytes) -> Iterator[Frame]:
        block = block.lstrip(b"\n")
        if len(block) > self._limit:
            raise too_large(self._limit)
        if frame := _parse(block, raw=self._raw):
            yield frame


def _parse(block: bytes, *, raw: bool) -> Frame | None:
    """Return the event of a block of lines; None of a block of comments."""
    if block[:1] in (b"{", b"["):
        return Frame(block, bare=True)
    data: list[bytes] = []
    fields: dict[str, str] = {}
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if not name:
            continue  # a comment
        if name == b"data":
            data.append(value if raw else value.removeprefix(b" "))
        else:
            value = value.removeprefix(b" ")
            fields[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    if not data and not fields:
        return None
    return Frame(b"\n".join(data) if data else None, fields)
