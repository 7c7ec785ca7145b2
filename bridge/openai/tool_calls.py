"""Tool calls in OpenAI's delta form, from any form in which upstreams send calls.

    {"id": "a", "name": "pick", "arguments": {}}   ─▶   {"index": 0, "id": "a", "type": "function",
                                                         "function": {"name": "pick", "arguments": "{}"}}

Clients find a call by its index, which counts from 0 without gaps, and join members that are repeated. So id,
type and name are sent once, and arguments are text. Further members of a call are kept.

Upstreams that are nearly OpenAI-compatible are read by guesses (`add_delta`), the fragments of a tool format
exactly (`add_fragment`). A call that ends without arguments gets `{}`, since clients parse the arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import ToolCallFragment
from bridge.core.messages import arguments_text
from bridge.openai.normalize import omit, with_members

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["ToolCallAssembler", "normalize_tool_call"]


class ToolCallAssembler:
    """The tool calls of one choice while they stream."""

    __slots__ = ("_ids", "_indexes", "_indexes_by_id", "_pending_arguments", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix  # of the ids of calls that arrive without an id
        self._indexes: dict[int, int] = {}  # the client's index by the upstream's
        self._ids: list[str] = []  # by the client's index
        self._indexes_by_id: dict[str, int] = {}  # the client's index of the first call with an id
        self._pending_arguments: dict[int, str] = {}  # the default arguments of calls that have none so far

    def __bool__(self) -> bool:
        """Return whether a call has begun."""
        return bool(self._ids)

    def add_delta(self, call: JSONObject) -> JSONObject:
        """Return the delta of a call, or of a part of a call, that is nearly in OpenAI's shape."""
        delta = self._delta(call)
        if delta["function"]["arguments"]:
            self._pending_arguments.pop(delta["index"], None)
        elif "id" in delta:
            self._pending_arguments[delta["index"]] = "{}"
        return delta

    def add(self, parts: list[Any]) -> list[JSONObject]:
        """Return the deltas of fragments and of nearly OpenAI's deltas; other values are ignored."""
        deltas = [
            self.add_fragment(part) if isinstance(part, ToolCallFragment) else self.add_delta(part)
            for part in parts
            if isinstance(part, ToolCallFragment | dict)
        ]
        return [delta for delta in deltas if delta]

    def add_fragment(self, fragment: ToolCallFragment) -> JSONObject | None:
        """Return the delta of a fragment; None if the fragment adds nothing."""
        if fragment.name is not None:
            return self._begin(fragment, fragment.name)
        # Blocks that are not tool calls of the client, such as a search by the upstream, never begin a call.
        if fragment.at is None or fragment.at not in self._indexes:
            return None
        index = self._indexes[fragment.at]
        if fragment.ended:
            del self._indexes[fragment.at]
            return self._default_arguments(index) if index in self._pending_arguments else None
        if not fragment.arguments:
            return None
        self._pending_arguments.pop(index, None)
        return {"index": index, "function": {"arguments": fragment.arguments}}

    def close(self) -> list[JSONObject] | None:
        """Return the default arguments of calls that ended without arguments; None if all have some."""
        return [self._default_arguments(index) for index in list(self._pending_arguments)] or None

    def _default_arguments(self, index: int) -> JSONObject:
        return {"index": index, "function": {"arguments": self._pending_arguments.pop(index)}}

    def _begin(self, fragment: ToolCallFragment, name: str) -> JSONObject:
        index = len(self._ids)
        # Clients find the call of a result by its id, so that calls cannot share an id.
        call_id = (
            fragment.id
            if fragment.id and fragment.id not in self._indexes_by_id
            else f"{self._prefix}_{index}"
        )
        self._append_id(call_id)
        if fragment.at is not None:
            self._indexes[fragment.at] = index
        if not fragment.arguments:
            self._pending_arguments[index] = fragment.default_arguments
        function = {"name": name, "arguments": fragment.arguments}
        return {"index": index, "id": call_id, "type": "function", "function": function, **fragment.more}

    def _delta(self, call: JSONObject) -> JSONObject:
        function, rest = _parts(call)
        name = function.get("name")
        index = self._index(call, name)
        if index < len(self._ids):
            function = _with_arguments(omit(function, "name"))
            return with_members(omit(rest, "id", "type"), {"index": index, "function": function})
        self._append_id(str(call.get("id") or f"{self._prefix}_{index}"))
        return with_members(rest, {"index": index, **_identity(call, self._ids[index], function)})

    def _index(self, call: JSONObject, name: Any) -> int:
        """Return the client's index of the call that a part belongs to; a new call gets the next index."""
        upstream_index, call_id = call.get("index"), call.get("id")
        if type(upstream_index) is int:
            index = self._indexes.setdefault(upstream_index, len(self._ids))
            if name and call_id and index < len(self._ids) and str(call_id) != self._ids[index]:
                # Gemini has sent all calls under one index.
                self._indexes[upstream_index] = len(self._ids)
            return self._indexes[upstream_index]
        if call_id and (known := self._indexes_by_id.get(str(call_id))) is not None:
            return known
        return len(self._ids) if call_id or name else max(len(self._ids) - 1, 0)

    def _append_id(self, call_id: str) -> None:
        self._indexes_by_id.setdefault(call_id, len(self._ids))
        self._ids.append(call_id)


def normalize_tool_call(number: int, call: JSONObject) -> JSONObject:
    """Return a call of a non-streaming response in OpenAI's shape."""
    function, rest = _parts(call)
    return with_members(rest, _identity(call, str(call.get("id") or f"call_{number}"), function))


def _parts(call: JSONObject) -> tuple[JSONObject, JSONObject]:
    """Return the function, whose members may be in the call itself, and the call without such members."""
    function = call.get("function")
    if isinstance(function, dict):
        return function, call
    flat: JSONObject = {key: call[key] for key in ("name", "arguments") if key in call}
    return flat, omit(call, "name", "arguments")


def _identity(call: JSONObject, call_id: str, function: JSONObject) -> JSONObject:
    """Return the members that are sent once for each call."""
    named = with_members(function, {"name": str(function.get("name") or "")})
    return {"id": call_id, "type": _type(call), "function": _with_arguments(named)}


def _with_arguments(function: JSONObject) -> JSONObject:
    return with_members(function, {"arguments": arguments_text(function.get("arguments"))})


def _type(call: JSONObject) -> str:
    value = call.get("type")
    return value if isinstance(value, str) and value else "function"
