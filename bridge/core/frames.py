"""A frame: one message of a streamed answer, cut out of the bytes and not yet read."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NO_FIELDS", "Frame"]

NO_FIELDS: Final[Mapping[str, str]] = MappingProxyType({})


class Frame(NamedTuple):
    """What one frame carries: its payload, None where an event has none, and an SSE event's other fields.

    `bare`: JSON that stood in an SSE stream outside of any event.
    """

    data: bytes | str | None
    fields: Mapping[str, str] = NO_FIELDS
    bare: bool = False
