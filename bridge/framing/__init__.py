"""Bytes to frames, however the network cut them.

    framer.feed(data)  ─▶ the frames that are complete by now
    framer.close()     ─▶ what is left at the end of the body

A framer keeps only the unfinished tail. Its frames are a function of the bytes alone, never of the cuts.
Both raise UpstreamError after the last good frame: a frame over the limit, a body that ends inside one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bridge.framing.lines import LineFramer
from bridge.framing.sse import SSEFramer
from bridge.framing.text import TextFramer
from bridge.framing.values import ArrayFramer, ValueFramer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.frames import Frame

__all__ = ["FRAMINGS", "Framer"]


class Framer(Protocol):
    """What cuts one body into frames."""

    def feed(self, data: bytes) -> Iterable[Frame]:
        """Take what has arrived."""

    def close(self) -> Iterable[Frame]:
        """The body is over."""


FRAMINGS: dict[str, Callable[[int], Framer]] = {
    "sse": SSEFramer,
    "ndjson": lambda limit: LineFramer(limit, b"\n"),
    # Servers changed from NUL to newline between releases (vLLM's demo server), so either ends a frame.
    "nul": lambda limit: LineFramer(limit, b"\0"),
    "json-array": ArrayFramer,
    "json": ValueFramer,
    "text": TextFramer,
}
"""By the framing's name: makes a framer whose frames have at most so many bytes."""
