"""Bytes to frames, however the network cut them.

    framer.feed(data)  ─▶ the frames that are complete by now
    framer.close()     ─▶ what is left at the end of the body

A framer keeps only the unfinished tail. Its frames are a function of the bytes alone, never of the cuts.
Both raise UpstreamError after the last good frame: a frame over the limit, a body that ends inside one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.framing.delimited import LineFramer
from bridge.framing.framer import Framer
from bridge.framing.json_values import ArrayFramer, ValueFramer
from bridge.framing.length_delimited import EventStreamFramer, MessageFramer
from bridge.framing.nested import Base64Framer, NestedFramer
from bridge.framing.raw_text import TextFramer
from bridge.framing.sse import SSEFramer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FRAMINGS", "INNER", "MESSAGES", "Framer", "framer"]


def framer(framing: str, inner: str, limit: int) -> Framer:
    """What cuts a body into frames of at most `limit` bytes; its messages may carry an `inner` framing."""
    outer = FRAMINGS[framing](limit)
    match inner:
        case "json":
            return outer
        case "base64":
            return Base64Framer(outer)
        case _:
            return NestedFramer(outer, FRAMINGS[inner](limit))


FRAMINGS: dict[str, Callable[[int], Framer]] = {
    "sse": SSEFramer,
    "ndjson": lambda limit: LineFramer(limit, b"\n"),
    # Servers changed from NUL to newline between releases (vLLM's demo server), so either ends a frame.
    "nul": lambda limit: LineFramer(limit, b"\0"),
    "json-array": ArrayFramer,
    "json": ValueFramer,
    "text": TextFramer,
    "websocket": MessageFramer,
    "eventstream": EventStreamFramer,
}
"""By the framing's name: makes a framer whose frames have at most so many bytes."""

MESSAGES: Final = ("websocket", "eventstream")
"""The framings whose frames are messages, which may carry another framing."""

INNER: Final = ("json", "base64", *(name for name in FRAMINGS if name not in MESSAGES and name != "json"))
"""What such a message may carry; `json` is one value a message."""
