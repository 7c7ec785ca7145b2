"""Tool calls in OpenAI's delta form, from any form in which upstreams send calls.

    {"id": "a", "name": "pick", "arguments": {}}   ─▶   {"index": 0, "id": "a", "type": "function",
                                                         "function": {"name": "pick", "arguments": "{}"}}

Clients find a call by its index, which counts from 0 without gaps, and join members that are repeated. So id,
type and a repeated name are sent once, and arguments are text. A call is held until its name arrives, and
further pieces of a name are forwarded. Further members of a call are kept.

Upstreams that are nearly OpenAI-compatible are read by guesses (`add_delta`), the fragments of a tool format
exactly (`add_fragment`). A call that ends without arguments gets `{}`, since clients parse the arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import ToolCallFragment
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.messages import arguments_text
from bridge.openai.normalize import omit, with_members
from bridge.openai.tool_call_shapes import call_function, call_members, normalize_tool_call, unreadable_call

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["ToolCallAssembler"]

_NULL = "null"  # in place of arguments, which clients cannot unpack


class ToolCallAssembler:
    """The tool calls of one choice while they stream."""

    __slots__ = (
        "_began", "_held", "_ids", "_indexes", "_indexes_by_id", "_names", "_nulls", "_pending_arguments",
        "_prefix", "_sent",
    )  # fmt: skip

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix  # of the ids of calls that arrive without an id
        # Calls are numbered as they arrive. The client's index counts the calls whose name has arrived.
        self._indexes: dict[int, int] = {}  # the number of a call by the upstream's index
        self._ids: list[str] = []  # by number
        self._names: list[str] = []  # by number, as far as they have arrived
        self._indexes_by_id: dict[str, int] = {}  # the number of the first call with an id
        self._sent: dict[int, int] = {}  # the client's index by number
        self._held: dict[int, JSONObject] = {}  # the parts of calls whose names have not arrived
        self._pending_arguments: dict[int, str] = {}  # the default arguments of calls that have none so far
        self._nulls: dict[int, str] = {}  # the beginning of `null` in place of arguments
        self._began = False  # the upstream's message began

    def __bool__(self) -> bool:
        """Return whether a call has begun."""
        return bool(self._ids)

    def add_delta(self, call: JSONObject) -> JSONObject | None:
        """Return the delta of a call, or of a part of a call, that is nearly in OpenAI's shape.

        None: the call is held until its name arrives. Raises UpstreamError.
        """
        function, rest = call_function(call)
        name = str(function.get("name") or "")
        index = self._index(call, name)
        if index < len(self._ids) and index not in self._held:
            return self._continued(index, name, function, rest)
        if index == len(self._ids):
            self._append(str(call.get("id") or f"{self._prefix}_{index}"), name)
        if not name:
            self._held[index] = self._joined(index, function, rest)
            return None
        if index in self._held:
            call = self._joined(index, function, rest)
            function, rest = call_function(call)
            del self._held[index]
        self._names[index] = name
        self._ids[index] = str(call.get("id") or self._ids[index])
        self._sent[index] = len(self._sent)
        self._pending_arguments[index] = "{}"
        arguments = self._arguments(index, arguments_text(function.get("arguments")))
        return with_members(
            rest,
            {
                "index": self._sent[index],
                **call_members(call, self._ids[index], with_members(function, {"arguments": arguments})),
            },
        )

    def add_complete(self, call: JSONObject) -> JSONObject:
        """Return the delta of a call of a non-streaming response. Raises UpstreamError."""
        number = len(self._ids)
        call_id = str(call.get("id") or "")
        if not call_id or call_id in self._indexes_by_id:
            call = {**call, "id": f"{self._prefix}_{number}"}
        normalized = normalize_tool_call(number, call)
        self._append(normalized["id"], normalized["function"]["name"])
        self._sent[number] = number
        return {"index": number, **omit(normalized, "index")}

    def add(self, parts: list[Any], *, complete: bool = False) -> list[JSONObject]:
        """Return the deltas of fragments and of nearly OpenAI's deltas; other values are ignored.

        `complete`: each call arrives whole, so that calls are never merged. Raises UpstreamError.
        """
        add_call = self.add_complete if complete else self.add_delta
        deltas = [
            self.add_fragment(part) if isinstance(part, ToolCallFragment) else add_call(part)
            for part in parts
            if isinstance(part, ToolCallFragment | dict)
        ]
        return [delta for delta in deltas if delta]

    def add_fragment(self, fragment: ToolCallFragment) -> JSONObject | None:
        """Return the delta of a fragment; None if the fragment adds nothing. Raises UpstreamError."""
        if fragment.begins_message:
            if self._began:
                message = "the upstream began a second message within one stream"
                raise UpstreamError(UpstreamFailure.MALFORMED, message)
            self._began = True
            return None
        if fragment.name is not None:
            return self._begin(fragment, fragment.name)
        # Blocks that are not tool calls of the client, such as a search by the upstream, never begin a call.
        if fragment.at is None or fragment.at not in self._indexes:
            return None
        index = self._indexes[fragment.at]
        if fragment.ended:
            del self._indexes[fragment.at]
            return self._default_arguments(index) if index in self._pending_arguments else None
        arguments = self._arguments(index, fragment.arguments)
        return {"index": self._sent[index], "function": {"arguments": arguments}} if arguments else None

    def close(self) -> list[JSONObject] | None:
        """Return the default arguments of calls that ended without arguments; None if all have some.

        Raises UpstreamError if the name of a call never arrived.
        """
        for call in self._held.values():
            raise unreadable_call("a tool call without a name", call)
        return [self._default_arguments(index) for index in list(self._pending_arguments)] or None

    def _arguments(self, index: int, text: str) -> str:
        """Return a part of a call's arguments; "" as long as the arguments may be `null`."""
        if index not in self._pending_arguments:
            return text
        text = self._nulls.pop(index, "") + text
        if text and _NULL.startswith(text):
            self._nulls[index] = text
            return ""
        if text:
            del self._pending_arguments[index]
        return text

    def _default_arguments(self, index: int) -> JSONObject:
        self._nulls.pop(index, None)
        return {"index": self._sent[index], "function": {"arguments": self._pending_arguments.pop(index)}}

    def _begin(self, fragment: ToolCallFragment, name: str) -> JSONObject:
        if not name:
            raise unreadable_call("a tool call without a name", fragment.more)
        index = len(self._ids)
        # Clients find the call of a result by its id, so that calls cannot share an id.
        call_id = (
            fragment.id
            if fragment.id and fragment.id not in self._indexes_by_id
            else f"{self._prefix}_{index}"
        )
        self._append(call_id, name)
        if fragment.at is not None:
            self._indexes[fragment.at] = index
        self._sent[index] = len(self._sent)
        self._pending_arguments[index] = fragment.default_arguments
        arguments = self._arguments(index, fragment.arguments)
        function = {"name": name, "arguments": arguments}
        identity = {"index": self._sent[index], "id": call_id, "type": "function"}
        return {**identity, "function": function, **fragment.more}

    def _continued(self, index: int, name: str, function: JSONObject, rest: JSONObject) -> JSONObject:
        """Return the delta of a further part of a call whose name, or a piece of it, was sent."""
        sent = arguments_text(function.get("arguments"))
        if name and name != self._names[index]:
            self._names[index] += name
        else:
            function = omit(function, "name")
        function = with_members(function, {"arguments": self._arguments(index, sent)})
        return with_members(omit(rest, "id", "type"), {"index": self._sent[index], "function": function})

    def _joined(self, index: int, function: JSONObject, rest: JSONObject) -> JSONObject:
        """Return a call whose name has not arrived so far, with its earlier parts."""
        held = self._held.get(index)
        if held is None:
            return {**rest, "function": function} if function or "function" in rest else rest
        arguments = [arguments_text(part.get("arguments")) for part in (held.get("function") or {}, function)]
        joined = {**(held.get("function") or {}), **function, "arguments": "".join(arguments)}
        return {**rest, **held, "function": joined}

    def _index(self, call: JSONObject, name: str) -> int:
        """Return the number of the call that a part belongs to; a new call gets the next number."""
        upstream_index, call_id = call.get("index"), call.get("id")
        if type(upstream_index) is int:
            index = self._indexes.setdefault(upstream_index, len(self._ids))
            if name and index < len(self._ids) and self._is_new(index, name, call_id):
                self._indexes[upstream_index] = len(self._ids)
            return self._indexes[upstream_index]
        if call_id and (known := self._indexes_by_id.get(str(call_id))) is not None:
            return known
        return len(self._ids) if call_id or name else max(len(self._ids) - 1, 0)

    def _is_new(self, index: int, name: str, call_id: Any) -> bool:
        """Return whether a named part begins a new call, since some servers send all calls at one index."""
        if index in self._held:
            return False
        if call_id:
            return str(call_id) != self._ids[index]
        # The pieces of a name come before the arguments.
        return index not in self._pending_arguments and name != self._names[index]

    def _append(self, call_id: str, name: str) -> None:
        self._indexes_by_id.setdefault(call_id, len(self._ids))
        self._ids.append(call_id)
        self._names.append(name)
