"""What every framer is: the interface between bytes and frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.frames import Frame

__all__ = ["Framer"]


class Framer(Protocol):
    """What cuts one body into frames."""

    def feed(self, data: bytes) -> Iterable[Frame]:
        """Take what has arrived."""

    def close(self) -> Iterable[Frame]:
        """The body is over."""
