"""Bytes to frames, however the network cut the bytes.

    framer.feed(data)  ─▶  the frames that are complete with this data
    framer.close()     ─▶  the frames that the end of the body completes

A framer keeps only the unfinished end of the data. The frames are a function of the bytes alone, never of
the cuts; only those of raw text follow the reads. To add a framing, write a framer in a module of this
folder and a row of `FRAMINGS`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from bridge.framing.delimited import LineFramer
from bridge.framing.framer import Framer, Framing
from bridge.framing.json_values import ArrayFramer, ValueFramer
from bridge.framing.length_delimited import EventStreamFramer, MessageFramer
from bridge.framing.nested import Base64Framer, NestedFramer
from bridge.framing.raw_text import TextFramer
from bridge.framing.sse import SSEFramer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FRAMINGS",
    "INNER_FRAMINGS",
    "MESSAGE_FRAMINGS",
    "RAW_SSE",
    "SSE",
    "Framer",
    "Framing",
    "make_framer",
]

SSE: Final = Framing("sse", SSEFramer)

RAW_SSE: Final = Framing("sse", partial(SSEFramer, raw=True))
"""SSE whose data begins after the colon: some servers send no space there, and tokens begin with spaces."""

FRAMINGS: Final[Mapping[str, Framing]] = {
    framing.name: framing
    for framing in (
        SSE,
        Framing("ndjson", lambda limit: LineFramer(limit, b"\n")),
        # vLLM's demo server changed from NUL to newline between releases, so either ends a frame.
        Framing("nul", lambda limit: LineFramer(limit, b"\0")),
        Framing("json-array", ArrayFramer),
        Framing("json", ValueFramer),
        Framing("text", TextFramer, follows_reads=True),
        Framing("websocket", MessageFramer, has_messages=True, is_websocket=True),
        Framing("eventstream", EventStreamFramer, has_messages=True),
    )
}
"""By name."""

MESSAGE_FRAMINGS: Final = tuple(name for name, framing in FRAMINGS.items() if framing.has_messages)
"""The names of the framings whose messages may carry another framing."""

INNER_FRAMINGS: Final = (
    "json", "base64",
    *(name for name, framing in FRAMINGS.items() if not framing.has_messages and name != "json"),
)  # fmt: skip
"""The values of `stream.inner`. `json`: each message is one JSON value."""


def make_framer(framing: Framing, inner: str, limit: int) -> Framer:
    """Return a framer of frames up to `limit` bytes, from messages that carry an `inner` framing."""
    outer = framing.framer(limit)
    match inner:
        case "json":
            return outer
        case "base64":
            return Base64Framer(outer)
        case _:
            return NestedFramer(outer, FRAMINGS[inner].framer(limit))
