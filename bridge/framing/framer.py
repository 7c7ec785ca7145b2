"""The interface of framers, and the description of a framing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.core.frames import Frame

__all__ = ["Framer", "Framing"]


class Framer(Protocol):
    """Cuts one body into frames.

    Both methods raise UpstreamError after the last good frame: a frame is over the limit, or the body ends
    inside a frame.
    """

    def feed(self, data: bytes) -> Iterable[Frame]:
        """Return the frames that are complete with this data."""

    def close(self) -> Iterable[Frame]:
        """Return the frames that the end of the body completes."""


class Framing(NamedTuple):
    """One way to cut a body into frames: a value of `stream.framing`."""

    name: str
    framer: Callable[[int], Framer]  # makes a framer; the argument is the limit of a frame in bytes
    has_messages: bool = False  # frames are messages, which may carry another framing (`stream.inner`)
    is_websocket: bool = False  # the stream arrives over a WebSocket
    follows_reads: bool = False  # only the text of all frames together is independent of the cuts
