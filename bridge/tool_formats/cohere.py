"""Cohere's v2 chat: OpenAI's calls, results as documents, a choice of two words.

    {"role": "assistant", "tool_plan": "I will pick.", "tool_calls": [{"id": "c1", "type": "function", …}]}
    {"role": "tool", "tool_call_id": "c1", "content": [{"type": "document", "document": {"data": {…}}}]}

What is said beside calls is their plan. A document's data is an object. `REQUIRED` with the one tool that is
wanted is the choice of that tool. A stream has one event each for a call's start, its fragments and its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING, ToolCallFragment
from bridge.tool_formats.messages import invalid_parameter
from bridge.tool_formats.tool_choice import select_functions
from bridge.tool_formats.tool_format import (
    ToolFormat,
    as_int,
    as_object,
    as_str,
    complete_call,
    get_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.core.json import JSONObject
    from bridge.tool_formats.messages import Image, Message, ToolCall
    from bridge.tool_formats.tool_choice import Function, ToolChoice

__all__ = ["COHERE"]


def _tools(functions: list[Function], wanted: ToolChoice) -> Any:
    names = frozenset({wanted.name}) if wanted.name else wanted.allowed
    return [function.openai for function in select_functions(functions, names)]


def _choice(wanted: ToolChoice) -> Any:
    # `auto` is not among the words: it is what leaving the choice out means.
    return {"none": "NONE", "required": "REQUIRED"}.get(wanted.mode or "", MISSING)


def _messages(turns: Iterable[Message]) -> list[JSONObject]:
    return [_message(turn) for turn in turns]


def _message(turn: Message) -> JSONObject:
    if turn.role == "tool":
        for image in turn.images:
            raise invalid_parameter(
                image.at,
                "is an image in a tool's result: this model's server takes text there",
                code="unsupported_content",
            )
        document = {"type": "document", "document": {"data": as_object(turn.text)}}
        return {"role": "tool", "tool_call_id": turn.tool_call_id, "content": [document]}
    if turn.calls:
        plan = {"tool_plan": turn.text} if turn.text else {}
        return {"role": turn.role, **plan, "tool_calls": [_call(call) for call in turn.calls]}
    return {"role": turn.role, "content": list(map(_part, turn.pieces)) if turn.images else turn.text}


def _part(piece: str | Image) -> JSONObject:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    return {"type": "image_url", "image_url": {"url": piece.url}}


def _call(call: ToolCall) -> JSONObject:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def _calls(found: Any) -> Iterator[ToolCallFragment]:
    index = as_int(get_path(found, "index"))
    streamed = get_path(found, "delta", "message", "tool_calls")
    function = get_path(streamed, "function")
    match get_path(found, "type"):
        case "tool-call-start":
            name = as_str(get_path(function, "name"))
            yield ToolCallFragment(
                index, as_str(get_path(streamed, "id")), name, as_str(get_path(function, "arguments"))
            )
        case "tool-call-delta":
            yield ToolCallFragment(index, arguments=as_str(get_path(function, "arguments")))
        case "tool-call-end":
            yield ToolCallFragment(index, ended=True)
        case _:
            for call in json.objects(get_path(found, "message", "tool_calls")):
                function = get_path(call, "function")
                yield complete_call(
                    call.get("id"), get_path(function, "name"), get_path(function, "arguments")
                )


COHERE = ToolFormat(_tools, _choice, _messages, _calls)
