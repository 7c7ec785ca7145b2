"""Frames: the messages of a stream, cut from its bytes and not yet parsed."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NO_FIELDS", "Frame"]

NO_FIELDS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True, init=False)
class Frame:
    """One frame. A stream has many: a named tuple would take longer to create and to read."""

    data: bytes | str | None  # the payload; None of an event without data
    fields: Mapping[str, str]  # of an SSE event besides `data`, headers of an AWS event
    bare: bool  # JSON in an SSE stream, outside of any event

    def __init__(
        self,
        data: bytes | str | None,
        fields: Mapping[str, str] = NO_FIELDS,
        *,
        bare: bool = False,
    ) -> None:
        self.data = data
        self.fields = fields
        self.bare = bare
