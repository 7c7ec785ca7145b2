r"""Frames that differ in nothing but their text are not read one by one: their texts are cast over.

    {"text":" teal","id":7}    ─▶  data: {…"content":" teal"…}         read as every frame is; makes a mould
    {"text":", mostly","id":7} ─▶  data: {…"content":", mostly"…}      the literal alone goes over

A mould is the bytes of a frame around the literal of its text. What fits it would be read to the same
outcome, but for the text, since nothing else that rules look at can lie within it (`bridge.routes.alone`).
What does not fit, a literal with `\u` in it or bytes that are no UTF-8 among them, is read as ever.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge import json
from bridge.rules.scope import Scope

if TYPE_CHECKING:
    from bridge.rules.paths import Path

__all__ = ["BORDERS", "Mould"]

# A JSON string as our own writer writes it, so that it can stand in the reply as it is; never empty.
_LITERAL = rb'"(?:[^"\\\x00-\x1f]++|\\["\\bfnrt])++"'
_PROBE = "\x01probe"

BORDERS: dict[str, tuple[tuple[bytes, ...], tuple[bytes, ...]]] = {
    "sse": ((b"data: ", b"data:"), (b"\n\n", b"\r\n\r\n")),
    "ndjson": ((b"",), (b"\n",)),
    "nul": ((b"",), (b"\0", b"\n")),
}
"""What stands ahead of a frame and behind it, by the framing."""


class Mould:
    """The bytes around a text, in the upstream's stream and in the reply's."""

    __slots__ = ("_after", "_before", "_between", "_longest", "_match", "misses")

    def __init__(self, pattern: bytes, before: bytes, after: bytes, longest: int) -> None:
        self._match = re.compile(pattern).match
        self._before = before
        self._after = after
        self._between = after + before
        self._longest = longest
        self.misses = 0

    @classmethod
    def of(
        cls, frame: bytes, piece: bytes, framing: str, path: Path, around: tuple[bytes, bytes], limit: int
    ) -> Mould | None:
        """The mould of a frame that was read to a text alone, and came in this piece of the stream.

        `around` is what stands around a text in the reply. None: the frame cannot be one.
        """
        text = path.find(Scope(json.loads(frame)))
        literal = json.dumps(text)
        if not isinstance(text, str) or not text or frame.count(literal) != 1:
            return None
        front, _, back = frame.partition(literal)
        if path.find(Scope(json.loads(front + json.dumps(_PROBE) + back))) != _PROBE:
            return None
        at = piece.rfind(frame)
        ahead, behind = BORDERS[framing]
        for begin in ahead:
            for end in behind:
                raw = begin + frame + end
                if at >= len(begin) and piece.startswith(raw, at - len(begin)):
                    pattern = re.escape(begin + front) + b"(" + _LITERAL + b")" + re.escape(back + end)
                    return cls(pattern, *around, limit)
        return None

    def cast(self, data: bytes) -> tuple[bytes, int]:
        """The reply to the frames that data begins with, and how many bytes these are."""
        match, longest = self._match, self._longest
        literals: list[bytes] = []
        at = 0
        while (found := match(data, at)) is not None:
            literal = found[1]
            end = found.end()
            if end - at > longest or not (literal.isascii() or _is_utf8(literal)):
                break
            literals.append(literal)
            at = end
        if not literals:
            self.misses += 1
            return b"", 0
        self.misses = 0
        return self._before + self._between.join(literals) + self._after, at


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
