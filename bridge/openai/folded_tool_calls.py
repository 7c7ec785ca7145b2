"""Tool calls of one choice, folded from the deltas of a stream.

{"index": 0, "id": "a", "function": {"name": "pick", "arguments": '{"n":'}}
{"index": 0, "function": {"arguments": "1}"}}    ─▶    {"id": "a", …, "function": {…, "arguments": '{"n":1}'}}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["FoldedToolCalls"]


class FoldedToolCalls:
    """The tool calls of one choice."""

    __slots__ = ("_arguments", "_calls")

    def __init__(self) -> None:
        self._calls: dict[int, JSONObject] = {}  # by index, without their arguments
        self._arguments: dict[int, list[str]] = {}  # the parts of each call's arguments, joined at the end

    def __bool__(self) -> bool:
        """Return whether there is a call."""
        return bool(self._calls)

    def add(self, delta: JSONObject) -> None:
        """Add a delta to its call: join names and arguments, and keep the first of every other member."""
        index, sent = delta["index"], delta.get("function") or {}
        call = self._calls.get(index)
        if call is None:
            call = {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
            self._calls[index], self._arguments[index] = call, []
        function = call["function"]
        call["id"] = call["id"] or delta.get("id")
        function["name"] += sent.get("name") or ""
        self._arguments[index].append(sent.get("arguments") or "")
        for name, value in delta.items():
            if name != "index":
                call.setdefault(name, value)

    def complete(self) -> list[JSONObject]:
        """Return the calls in the order of their indexes."""
        for index, parts in self._arguments.items():
            self._calls[index]["function"]["arguments"] = "".join(parts)
        return [self._calls[index] for index in sorted(self._calls)]
