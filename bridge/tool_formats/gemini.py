"""The tool format of Gemini's generateContent API: calls and results are parts, matched by the tool's name.

    {"role": "model", "parts": [{"functionCall": {"name": "pick", "args": {"n": 1}}}]}
    {"role": "user", "parts": [{"functionResponse": {"name": "pick", "response": {"result": "red"}}}]}

Roles are `user` and `model` and must alternate. A call arrives complete in one chunk, with its args as an
object and most often without an id, so each `functionCall` is a new call. Results are matched by name and
order, so ids are not sent. Models with reasoning sign their calls and require the signature in later
requests: as on Google's own OpenAI endpoint, `extra_content` of the call carries the signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING, ToolCallFragment
from bridge.tool_formats.gemini_schema import Copies, subset
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


def _write_tools(functions: list[Function], choice: ToolChoice) -> Any:
    selected, copies = select_functions(functions, choice.allowed), Copies()
    return [{"functionDeclarations": [_declaration(function, copies) for function in selected]}]


def _declaration(function: Function, copies: Copies) -> JSONObject:
    # Gemini rejects an object without properties, so a function without parameters is sent without a schema.
    schema = subset({"type": "object", **function.parameters}, f"{function.at}.function.parameters", copies)
    return {
        **function.declaration,
        **({"parameters": schema} if {"properties", "anyOf"} & schema.keys() else {}),
    }


def _write_choice(choice: ToolChoice) -> Any:
    if choice.mode is None:
        return MISSING
    mode = {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]
    named = {"allowedFunctionNames": [choice.name]} if choice.name else {}
    return {"functionCallingConfig": {"mode": mode, **named}}


def _write_messages(messages: Iterable[Message]) -> list[JSONObject]:
    written = ({"role": _ROLES[message.role], "parts": _parts(message)} for message in messages)
    merged = merge_same_role(written, "parts")
    return [{**message, "parts": message["parts"] or [{"text": ""}]} for message in merged]


def _parts(message: Message) -> list[JSONObject]:
    if message.role == "tool":
        if not message.name:
            raise invalid_parameter(f"{message.at}.tool_call_id", "must be the id of an earlier tool call")
        response = {"name": message.name, "response": as_object(message.text)}
        return [{"functionResponse": response}, *map(_part, message.images)]
    return [*map(_part, message.pieces), *map(_call_part, message.calls)]


def _part(piece: str | Image) -> JSONObject:
    if isinstance(piece, str):
        return {"text": piece}
    media_type, data = piece.read_data()
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _call_part(call: ToolCall) -> JSONObject:
    part: JSONObject = {"functionCall": {"name": call.name, "args": call.read_arguments()}}
    signature = as_str(get_path(call.more, "extra_content", "google", "thought_signature"))
    return {**part, "thoughtSignature": signature} if signature else part


def _read_calls(document: Any) -> Iterator[ToolCallFragment]:
    candidate = next(json.objects(get_path(document, "candidates")), document)
    for part in json.objects(get_path(candidate, "content", "parts")):
        if isinstance(call := part.get("functionCall"), dict):
            signature = as_str(part.get("thoughtSignature"))
            more = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
            yield complete_call(call.get("id"), call.get("name"), call.get("args"), more)


_ROLES = {"system": "system", "user": "user", "tool": "user", "assistant": "model"}

GEMINI = ToolFormat(_write_tools, _write_choice, _write_messages, _read_calls, write_schema=subset)
