"""Gemini's generateContent: parts of contents, calls known by their tools' names.

    {"role": "model", "parts": [{"functionCall": {"name": "pick", "args": {"n": 1}}}]}
    {"role": "user", "parts": [{"functionResponse": {"name": "pick", "response": {"result": "red"}}}]}

Roles are `user` and `model` and alternate. A call's args are an object, whole in one chunk, most often
without an id: several in one chunk or in several are all calls of their own. So results go by name and order,
and no id is sent. A model that thinks signs its calls and wants the signature back; it travels as Google's
own OpenAI endpoint has it, in `extra_content` of the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING, ToolCallFragment
from bridge.tool_formats.gemini_schema import subset
from bridge.tool_formats.messages import invalid_parameter
from bridge.tool_formats.tool_choice import select_functions
from bridge.tool_formats.tool_format import (
    ToolFormat,
    as_object,
    as_str,
    complete_call,
    get_path,
    merge_same_role,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.core.json import JSONObject
    from bridge.tool_formats.messages import Image, Message, ToolCall
    from bridge.tool_formats.tool_choice import Function, ToolChoice

__all__ = ["GEMINI"]


def _tools(functions: list[Function], wanted: ToolChoice) -> Any:
    return [
        {
            "functionDeclarations": [
                _declared(function) for function in select_functions(functions, wanted.allowed)
            ]
        }
    ]


def _declared(function: Function) -> JSONObject:
    # An object without properties is refused here; a function that says no parameters has none.
    schema = subset({"type": "object", **function.parameters}, f"{function.at}.function.parameters")
    return {
        **function.declaration,
        **({"parameters": schema} if {"properties", "anyOf"} & schema.keys() else {}),
    }


def _choice(wanted: ToolChoice) -> Any:
    if wanted.mode is None:
        return MISSING
    mode = {"auto": "AUTO", "none": "NONE", "required": "ANY"}[wanted.mode]
    named = {"allowedFunctionNames": [wanted.name]} if wanted.name else {}
    return {"functionCallingConfig": {"mode": mode, **named}}


def _messages(turns: Iterable[Message]) -> list[JSONObject]:
    messages = merge_same_role(
        ({"role": _ROLES[turn.role], "parts": _parts(turn)} for turn in turns), "parts"
    )
    return [{**message, "parts": message["parts"] or [{"text": ""}]} for message in messages]


def _parts(turn: Message) -> list[JSONObject]:
    if turn.role == "tool":
        if not turn.name:
            raise invalid_parameter(
                f"{turn.at}.tool_call_id", "is the id of no call before it, so its tool is not known"
            )
        response = {"name": turn.name, "response": as_object(turn.text)}
        return [{"functionResponse": response}, *map(_part, turn.images)]
    return [*map(_part, turn.pieces), *map(_called, turn.calls)]


def _part(piece: str | Image) -> JSONObject:
    if isinstance(piece, str):
        return {"text": piece}
    media_type, data = piece.read_data()
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _called(call: ToolCall) -> JSONObject:
    part: JSONObject = {"functionCall": {"name": call.name, "args": call.read_arguments()}}
    signature = as_str(get_path(call.more, "extra_content", "google", "thought_signature"))
    return {**part, "thoughtSignature": signature} if signature else part


def _calls(found: Any) -> Iterator[ToolCallFragment]:
    candidate = next(json.objects(get_path(found, "candidates")), found)
    for part in json.objects(get_path(candidate, "content", "parts")):
        if isinstance(call := part.get("functionCall"), dict):
            signature = as_str(part.get("thoughtSignature"))
            more = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
            yield complete_call(call.get("id"), call.get("name"), call.get("args"), more)


_ROLES = {"system": "system", "user": "user", "tool": "user", "assistant": "model"}

GEMINI = ToolFormat(_tools, _choice, _messages, _calls)
