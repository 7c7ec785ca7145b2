"""Ollama's /api/chat: OpenAI's shape with arguments as objects, results by a tool's name, bare images.

    {"role": "assistant", "tool_calls": [{"function": {"name": "pick", "arguments": {"n": 1}}}]}
    {"role": "tool", "content": "red", "tool_name": "pick"}
    {"role": "user", "content": "What is it?", "images": ["iVBOR…"]}

There is no choice of tools: a tool that must not be called is not offered. A call comes whole in one line of
a stream, most often without an id; several come in one line or in several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.tool_formats.tool_choice import select_functions
from bridge.tool_formats.tool_format import ToolFormat, complete_call, get_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.core.deltas import ToolCallFragment
    from bridge.core.json import JSONObject
    from bridge.tool_formats.messages import Message
    from bridge.tool_formats.tool_choice import Function, ToolChoice

__all__ = ["OLLAMA"]


def _tools(functions: list[Function], wanted: ToolChoice) -> Any:
    if wanted.mode == "none":
        return MISSING
    names = frozenset({wanted.name}) if wanted.name else wanted.allowed
    return [function.openai for function in select_functions(functions, names)]


def _choice(wanted: ToolChoice) -> Any:
    return MISSING


def _messages(turns: Iterable[Message]) -> list[JSONObject]:
    return [_message(turn) for turn in turns]


def _message(turn: Message) -> JSONObject:
    message: JSONObject = {"role": turn.role, "content": turn.text}
    if turn.images:
        message["images"] = [image.read_data()[1] for image in turn.images]
    if turn.calls:
        message["tool_calls"] = [
            {"function": {"name": call.name, "arguments": call.read_arguments()}} for call in turn.calls
        ]
    if turn.name:
        message["tool_name"] = turn.name
    return message


def _calls(found: Any) -> Iterator[ToolCallFragment]:
    for call in json.objects(get_path(found, "message", "tool_calls")):
        function = get_path(call, "function")
        yield complete_call(call.get("id"), get_path(function, "name"), get_path(function, "arguments"))


OLLAMA = ToolFormat(_tools, _choice, _messages, _calls)
