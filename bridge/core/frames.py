"""Frames: the messages of a stream, cut from its bytes and not yet parsed."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NO_FIELDS", "Frame"]

NO_FIELDS: Final[Mapping[str, str]] = MappingProxyType({})


class Frame(NamedTuple):
    """One frame."""

    data: bytes | str | None  # the payload; None of an event without data
    fields: Mapping[str, str] = NO_FIELDS  # of an SSE event besides `data`, headers of an AWS event
    bare: bool = False  # JSON in an SSE stream, outside of any event
