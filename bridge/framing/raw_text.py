"""Raw text, which has no frames: each read is one, in whole characters.

Raw text has no separators, so that its frames follow the reads of the network. Only the text of all frames
together is a function of the bytes. A frame for each character, which would not depend on the cuts, made a
million chunks of a megabyte.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Final

from bridge.core.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_PIECE", "TextFramer"]

MAX_PIECE: Final = 16_384  # characters; a chunk is encoded as a whole

_Decoder = getincrementaldecoder("utf-8")


class TextFramer:
    """Cuts a UTF-8 text into pieces of whole characters. Invalid bytes become U+FFFD."""

    __slots__ = ("_decoder",)

    def __init__(self, limit: int) -> None:
        self._decoder = _Decoder("replace")  # pieces have a limit of their own

    def feed(self, data: bytes) -> Iterator[Frame]:
        return _pieces(self._decoder.decode(data))

    def close(self) -> Iterator[Frame]:
        return _pieces(self._decoder.decode(b"", final=True))


def _pieces(text: str) -> Iterator[Frame]:
    return (Frame(text[start : start + MAX_PIECE]) for start in range(0, len(text), MAX_PIECE))
