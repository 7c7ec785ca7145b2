"""Named events of a stream, as the Responses and Messages APIs send them (HTML standard, 9.2).

event: message_start
data: {"type": "message_start", …}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core import json

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["EventBuffer"]


class EventBuffer:
    """The events that are not sent yet."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: list[bytes] = []

    def add(self, name: str, members: JSONObject) -> None:
        """Add an event, which contains its name as `type`."""
        data = json.dumps({"type": name, **members})
        self._events.append(b"event: %b\ndata: %b\n\n" % (name.encode(), data))

    def take(self) -> bytes:
        """Return the bytes of the events, and forget the events."""
        out = b"".join(self._events)
        self._events.clear()
        return out
