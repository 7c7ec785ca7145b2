"""The output items of a response while deltas arrive, and the events that a client receives of them.

    items = OutputItems("9f…", custom_tools, emit)
    items.add(delta)*; items.close()        emit("response.output_text.delta", {…}) for each event
    items.items                             the items so far, as `output` of a response contains them

An item of text or reasoning ends when another item begins. Tool calls end together at the end of the
response: upstreams may send the parts of several calls in turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.core import json

if TYPE_CHECKING:
    from bridge.core.deltas import Delta
    from bridge.core.json import JSONObject

__all__ = ["OutputItems"]

Emit = Callable[[str, dict[str, Any]], None]


class OutputItems:
    """The output items of one response."""

    def __init__(self, id: str, custom_tools: frozenset[str], emit: Emit, *, summary: bool) -> None:  # noqa: A002
        """Begin without items. With `summary`, reasoning is a summary, as the client requests."""
        self.items: list[JSONObject] = []
        self._id = id
        self._custom_tools = custom_tools
        self._emit = emit
        self._summary = summary
        self._part: JSONObject | None = None  # of the item of text or reasoning that is open: its last part
        self._texts: list[str] = []  # of the open part
        self._calls: dict[int, _Call] = {}  # by the index of the upstream

    def add(self, delta: Delta) -> None:
        """Add a delta of the first choice."""
        if delta.reasoning:
            self._add_text("reasoning", self._reasoning_kind, delta.reasoning)
        if delta.replaces:
            self._texts.clear()
        if delta.text:
            self._add_text("message", "output_text", delta.text, delta.logprobs)
        if delta.rest is not None:
            message = delta.rest.message
            if isinstance(message.get("refusal"), str) and message["refusal"]:
                self._add_text("message", "refusal", message["refusal"])
            for annotation in message.get("annotations") or ():
                self._add_annotation(annotation)
        for fragment in delta.tool_calls or ():
            self._add_fragment(fragment)

    def close(self, status: str) -> None:
        """End all items. `status` is that of an item that was open: completed or incomplete."""
        self._close_item(status)
        for call in self._calls.values():
            if call.item is None:
                self._open_call(call)
            self._close_call(call, status)

    @property
    def _reasoning_kind(self) -> str:
        return "summary_text" if self._summary else "reasoning_text"

    def _add_text(self, item_type: str, part_type: str, text: str, logprobs: Any = None) -> None:
        """Add text to the open part, or to a new part or item."""
        if self._part is None or self.items[-1]["type"] != item_type:
            self._close_item("completed")
            self._open_item(item_type)
        if self._part is None or self._part["type"] != part_type:
            self._close_part()
            self._open_part(part_type)
        part = self._part
        assert part is not None
        self._texts.append(text)
        members: JSONObject = {"delta": text}
        if part_type == "output_text":
            members["logprobs"] = logprobs["content"] if _has_content(logprobs) else []
            part["logprobs"] += members["logprobs"]
        self._emit(_EVENTS[part_type] + ".delta", {**self._place(), **members})

    def _open_item(self, item_type: str) -> None:
        number = len(self.items)
        if item_type == "message":
            item: JSONObject = {"id": f"msg_{self._id}_{number}", "type": "message", "status": "in_progress"}
            item |= {"role": "assistant", "content": []}
        else:
            item = {
                "id": f"rs_{self._id}_{number}",
                "type": "reasoning",
                "status": "in_progress",
                "summary": [],
            }
            item |= {} if self._summary else {"content": []}
        self.items.append(item)
        self._emit("response.output_item.added", {"output_index": number, "item": _copy(item)})

    def _open_part(self, part_type: str) -> None:
        part: JSONObject = {"type": part_type, "refusal" if part_type == "refusal" else "text": ""}
        if part_type == "output_text":
            part |= {"annotations": [], "logprobs": []}
        self._part, self._texts = part, []
        self._parts().append(part)
        self._emit(_PART_EVENTS.get(part_type, "response.content_part") + ".added", self._with_part())

    def _close_part(self) -> None:
        part = self._part
        if part is None:
            return
        name = "refusal" if part["type"] == "refusal" else "text"
        part[name] = "".join(self._texts)
        members: JSONObject = {name: part[name]}
        if part["type"] == "output_text":
            members["logprobs"] = part["logprobs"]
        self._emit(_EVENTS[part["type"]] + ".done", {**self._place(), **members})
        self._emit(_PART_EVENTS.get(part["type"], "response.content_part") + ".done", self._with_part())
        self._part = None

    def _close_item(self, status: str) -> None:
        if self._part is not None:
            self._close_part()
            self._end_item(len(self.items) - 1, status)

    def _add_annotation(self, annotation: Any) -> None:
        part = self._part
        if part is None or part["type"] != "output_text" or not isinstance(annotation, dict):
            return
        kind = annotation.get("type")
        details = annotation.get(str(kind))
        flat = {"type": kind, **details} if isinstance(details, dict) else annotation
        part["annotations"].append(flat)
        members = {"annotation_index": len(part["annotations"]) - 1, "annotation": flat}
        self._emit("response.output_text.annotation.added", {**self._place(), **members})

    def _add_fragment(self, fragment: JSONObject) -> None:
        """Add a part of a tool call. The item begins with the name, which may arrive late."""
        call = self._calls.get(fragment["index"])
        if call is None:
            self._close_item("completed")
            call = self._calls[fragment["index"]] = _Call()
        function = fragment.get("function") or {}
        call.id = call.id or fragment.get("id") or ""
        if call.item is None:
            call.name += function.get("name") or ""
        arguments = function.get("arguments") or ""
        call.arguments.append(arguments)
        if call.item is None and call.name and call.id:
            self._open_call(call)
            arguments = "".join(call.arguments)
        if call.item is not None and arguments and call.item["type"] == "function_call":
            members = {"item_id": call.item["id"], "output_index": call.number, "delta": arguments}
            self._emit("response.function_call_arguments.delta", members)

    def _open_call(self, call: _Call) -> None:
        call.number = number = len(self.items)
        is_custom = call.name in self._custom_tools
        kind, prefix, member = (
            ("custom_tool_call", "ctc", "input") if is_custom else ("function_call", "fc", "arguments")
        )
        call.item = {
            "id": f"{prefix}_{self._id}_{number}", "type": kind, "status": "in_progress",
            "call_id": call.id or f"call_{self._id}_{number}", "name": call.name, member: "",
        }  # fmt: skip
        self.items.append(call.item)
        self._emit("response.output_item.added", {"output_index": number, "item": {**call.item}})

    def _close_call(self, call: _Call, status: str) -> None:
        item, arguments = call.item, "".join(call.arguments)
        assert item is not None
        place = {"item_id": item["id"], "output_index": call.number}
        if item["type"] == "custom_tool_call":
            item["input"] = _custom_input(arguments)
            event = "response.custom_tool_call_input"
            self._emit(f"{event}.delta", {**place, "delta": item["input"]})
            self._emit(f"{event}.done", {**place, "input": item["input"]})
        else:
            item["arguments"] = arguments
            members = {**place, "name": call.name, "arguments": arguments}
            self._emit("response.function_call_arguments.done", members)
        self._end_item(call.number, status)

    def _end_item(self, number: int, status: str) -> None:
        item = self.items[number]
        item["status"] = status
        self._emit("response.output_item.done", {"output_index": number, "item": _copy(item)})

    def _parts(self) -> list[JSONObject]:
        item = self.items[-1]
        parts: list[JSONObject] = item[
            "summary" if self._summary and item["type"] == "reasoning" else "content"
        ]
        return parts

    def _place(self) -> JSONObject:
        """Return the members by which an event names its part."""
        number = len(self.items) - 1
        name = "summary_index" if self._part and self._part["type"] == "summary_text" else "content_index"
        return {"item_id": self.items[-1]["id"], "output_index": number, name: len(self._parts()) - 1}

    def _with_part(self) -> JSONObject:
        return {**self._place(), "part": {**(self._part or {})}}


class _Call:
    """A tool call whose parts arrive."""

    __slots__ = ("arguments", "id", "item", "name", "number")

    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments: list[str] = []
        self.item: JSONObject | None = None  # None until the name is known
        self.number = -1


def _custom_input(arguments: str) -> str:
    """Return the text for a custom tool, which the model was to put into the argument `input`."""
    try:
        value = json.loads_text(arguments)
    except ValueError:
        return arguments
    match value:
        case {"input": str(text)}:
            return text
        case str():
            return value
        case _:
            return arguments


def _has_content(logprobs: Any) -> bool:
    return isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list)


def _copy(item: JSONObject) -> JSONObject:
    """Return an item as it is now: events are encoded at once, but kept by tests and by stored responses."""
    return {name: [*value] if isinstance(value, list) else value for name, value in item.items()}


_EVENTS = {
    "output_text": "response.output_text",
    "refusal": "response.refusal",
    "summary_text": "response.reasoning_summary_text",
    "reasoning_text": "response.reasoning_text",
}
"""The events of the text of a part, by its type."""
_PART_EVENTS = {"summary_text": "response.reasoning_summary_part"}
"""The events of a part itself, where they are not those of content."""
