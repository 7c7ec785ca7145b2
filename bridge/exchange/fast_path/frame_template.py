r"""Frames that differ in nothing but their text are not read one by one: their texts are cast over.

    {"text":" teal","id":7}    ─▶  data: {…"content":" teal"…}         read as every frame is; makes a mould
    {"text":", mostly","id":7} ─▶  data: {…"content":", mostly"…}      the literal alone goes over

A mould is the bytes of a frame around the literal of its text. What fits it would be read to the same
outcome, but for the text, since nothing else that rules look at can lie within it
(`bridge.routes.compile.fast_path`).
What does not fit, a literal with `\u` in it or bytes that are no UTF-8 among them, is read as ever.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from bridge.core import json
from bridge.expressions.scope import Scope

if TYPE_CHECKING:
    from bridge.expressions.paths import Path

__all__ = ["FRAME_DELIMITERS", "CumulativeFrameTemplate", "FrameTemplate", "split_frame"]

# Characters of a JSON string as our own writer writes them, so that they can stand in the reply as they are;
# and a whole string, never empty. What stands around them differs from stream to stream: it is not compiled.
_CHARACTER = rb'(?:[^"\\\x00-\x1f]++|\\["\\bfnrt])'
_CHARACTERS = re.compile(_CHARACTER + rb"*+").match
_LITERAL = re.compile(rb'"' + _CHARACTER + rb'++"').match
_UNKNOWN = "\ufffd".encode()
_PROBE = "\x01probe"

FRAME_DELIMITERS: dict[str, tuple[tuple[bytes, ...], tuple[bytes, ...]]] = {
    "sse": ((b"data: ", b"data:"), (b"\n\n", b"\r\n\r\n")),
    "ndjson": ((b"",), (b"\n",)),
    "nul": ((b"",), (b"\0", b"\n")),
}
"""What stands ahead of a frame and behind it, by the framing."""


class FrameTemplate:
    """The bytes around a text, in the upstream's stream and in the reply's. `misses` in a row did not fit."""

    __slots__ = ("_after", "_ahead", "_before", "_behind", "_between", "_longest", "misses")

    def __init__(self, found: FrameParts, around: tuple[bytes, bytes], longest: int) -> None:
        """`around` is what stands around a text's literal in the reply."""
        self._ahead = found.begin + found.front
        self._behind = found.back + found.end
        self._before, self._after = around
        self._between = self._after + self._before
        self._longest = longest
        self.misses = 0

    def transcode(self, data: bytes) -> tuple[bytes, int]:
        """The reply to the frames that data begins with, and how many bytes these are."""
        ahead, behind, longest = self._ahead, self._behind, self._longest
        size, rest = len(ahead), len(behind)
        literals: list[bytes] = []
        at = 0
        while data.startswith(ahead, at) and (found := _LITERAL(data, at + size)) is not None:
            literal, end = found[0], found.end()
            if not data.startswith(behind, end) or end + rest - at > longest:
                break
            if not literal.isascii() and not _is_utf8(literal):
                break
            literals.append(literal)
            at = end + rest
        if not literals:
            self.misses += 1
            return b"", 0
        self.misses = 0
        return self._before + self._between.join(literals) + self._after, at

    def still_matches(self, frame: bytes | None) -> bool:
        """Whether it still fits behind a frame that was read; None: that was more than a text."""
        return True


class CumulativeFrameTemplate(FrameTemplate):
    """The same where each text repeats all before it (`mode: cumulative`): what is new in it goes over."""

    __slots__ = ("_back", "_front", "_said")

    def __init__(self, found: FrameParts, around: tuple[bytes, bytes], longest: int) -> None:
        super().__init__(found, (around[0] + b'"', b'"' + around[1]), longest)
        self._front = found.front + b'"'
        self._back = b'"' + found.back
        self._ahead += b'"'
        self._behind = b'"' + self._behind
        self._said = found.literal[1:-1]

    @property
    def text(self) -> str:
        """All text so far."""
        return str(json.loads(b'"' + self._said + b'"'))

    def transcode(self, data: bytes) -> tuple[bytes, int]:
        """The reply to the frames that data begins with, and how many bytes these are."""
        ahead, behind = self._ahead + self._said, self._behind
        news: list[bytes] = []
        at = 0
        while data.startswith(ahead, at) and (found := _CHARACTERS(data, at + len(ahead))) is not None:
            new, end = found[0], found.end()
            # Half a character at the end waits for its other half.
            if new.endswith(_UNKNOWN) or not (new.isascii() or _is_utf8(new)):
                break
            if not data.startswith(behind, end) or end + len(behind) - at > self._longest:
                break
            at = end + len(behind)
            if new:
                news.append(new)
                self._said += new
                ahead += new
        self.misses = 0 if at else self.misses + 1
        return self._before + self._between.join(news) + self._after if news else b"", at

    def still_matches(self, frame: bytes | None) -> bool:
        if frame is None or not (frame.startswith(self._front) and frame.endswith(self._back)):
            return False
        said = frame[len(self._front) : -len(self._back)]
        whole = _CHARACTERS(said)
        self._said = said
        good = whole is not None and whole.end() == len(said)
        return good and not said.endswith(_UNKNOWN) and _is_utf8(said)


class FrameParts(NamedTuple):
    """A frame taken apart: what its framing puts at both ends, and what stands around its text's literal."""

    begin: bytes
    front: bytes
    literal: bytes
    back: bytes
    end: bytes


def split_frame(frame: bytes, piece: bytes, framing: str, path: Path) -> FrameParts | None:
    """A frame that was read to a text alone, and came in this piece of the stream; None: it is no mould."""
    text = path.find(Scope(json.loads(frame)))
    literal = json.dumps(text)
    if not isinstance(text, str) or not text or frame.count(literal) != 1:
        return None
    front, _, back = frame.partition(literal)
    try:
        probed = path.find(Scope(json.loads(front + json.dumps(_PROBE) + back)))
    except ValueError:  # it was found across the borders of strings: {"t":":"}
        return None
    if probed != _PROBE:
        return None
    at = piece.rfind(frame)
    ahead, behind = FRAME_DELIMITERS[framing]
    for begin in ahead:
        for end in behind:
            raw = begin + frame + end
            if at >= len(begin) and piece.startswith(raw, at - len(begin)):
                return FrameParts(begin, front, literal, back, end)
    return None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
