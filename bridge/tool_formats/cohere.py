"""The tool format of Cohere's v2 chat API: OpenAI's calls, results as documents, a choice of two words.

    {"role": "assistant", "tool_plan": "I will pick.", "tool_calls": [{"id": "c1", "type": "function", …}]}
    {"role": "tool", "tool_call_id": "c1", "content": [{"type": "document", "document": {"data": {…}}}]}

The text of a message with calls is `tool_plan`. The data of a document is an object. The choice of one tool
is `REQUIRED` with only that tool. A stream has an event for the start of a call, for each fragment, and for
the end.
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


def _write_tools(functions: list[Function], choice: ToolChoice) -> Any:
    names = frozenset({choice.name}) if choice.name else choice.allowed
    return [function.openai for function in select_functions(functions, names)]


def _write_choice(choice: ToolChoice) -> Any:
    # `auto` is expressed by leaving the choice out.
    return {"none": "NONE", "required": "REQUIRED"}.get(choice.mode or "", MISSING)


def _write_messages(messages: Iterable[Message]) -> list[JSONObject]:
    return [_message(message) for message in messages]


def _message(message: Message) -> JSONObject:
    if message.role == "tool":
        for image in message.images:
            raise invalid_parameter(
                image.at,
                "is an image in the result of a tool: this model's server only accepts text",
                code="unsupported_content",
            )
        document = {"type": "document", "document": {"data": as_object(message.text)}}
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": [document]}
    if message.calls:
        plan = {"tool_plan": message.text} if message.text else {}
        return {"role": message.role, **plan, "tool_calls": [_call(call) for call in message.calls]}
    return {
        "role": message.role,
        "content": list(map(_part, message.pieces)) if message.images else message.text,
    }


def _part(piece: str | Image) -> JSONObject:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    return {"type": "image_url", "image_url": {"url": piece.url}}


def _call(call: ToolCall) -> JSONObject:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def _read_calls(document: Any) -> Iterator[ToolCallFragment]:
    index = as_int(get_path(document, "index"))
    fragment = get_path(document, "delta", "message", "tool_calls")
    function = get_path(fragment, "function")
    match get_path(document, "type"):
        case "tool-call-start":
            name = as_str(get_path(function, "name"))
            yield ToolCallFragment(
                index, as_str(get_path(fragment, "id")), name, as_str(get_path(function, "arguments"))
            )
        case "tool-call-delta":
            yield ToolCallFragment(index, arguments=as_str(get_path(function, "arguments")))
        case "tool-call-end":
            yield ToolCallFragment(index, ended=True)
        case _:
            for call in json.objects(get_path(document, "message", "tool_calls")):
                function = get_path(call, "function")
                yield complete_call(
                    call.get("id"), get_path(function, "name"), get_path(function, "arguments")
                )


COHERE = ToolFormat(_write_tools, _write_choice, _write_messages, _read_calls)
