"""Raw text, which has no frames: each character is one.

Frames must not depend on how the network cut the bytes, and raw text has no separators. A character is the
only unit that is complete without the bytes that follow.
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
    """Cuts a UTF-8 text into characters. Invalid bytes become U+FFFD."""

    __slots__ = ("_decoder",)

    def __init__(self, limit: int) -> None:
        self._decoder = _Decoder("replace")  # a character has up to four bytes: no limit is required

    def feed(self, data: bytes) -> Iterator[Frame]:
        return map(Frame, self._decoder.decode(data))

    def close(self) -> Iterator[Frame]:
        return map(Frame, self._decoder.decode(b"", final=True))
