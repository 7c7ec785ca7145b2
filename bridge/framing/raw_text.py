"""Raw text: no frames at all, so a frame is one character.

The network's cuts must not be seen in the output, and nothing else marks a border. One character is the
only piece that needs no waiting for what comes next.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import TYPE_CHECKING

from bridge.core.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TextFramer"]

_Decoder = getincrementaldecoder("utf-8")


class TextFramer:
    """Frames are the characters of a UTF-8 text; broken bytes become U+FFFD."""

    __slots__ = ("_decoder",)

    def __init__(self, limit: int) -> None:
        self._decoder = _Decoder("replace")  # a character has four bytes at most: no limit is needed

    def feed(self, data: bytes) -> Iterator[Frame]:
        return map(Frame, self._decoder.decode(data))

    def close(self) -> Iterator[Frame]:
        return map(Frame, self._decoder.decode(b"", final=True))
