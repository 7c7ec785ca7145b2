"""The tool format of Ollama's /api/chat: arguments are objects, results carry the tool's name.

    {"role": "assistant", "tool_calls": [{"function": {"name": "pick", "arguments": {"n": 1}}}]}
    {"role": "tool", "content": "red", "tool_name": "pick"}
    {"role": "user", "content": "What is it?", "images": ["iVBOR…"]}

The choice is missing: tools that must not be called are not sent. A call arrives complete in one line of a
stream, most often without an id.
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


def _write_tools(functions: list[Function], choice: ToolChoice) -> Any:
    if choice.mode == "none":
        return MISSING
    names = frozenset({choice.name}) if choice.name else choice.allowed
    return [function.openai for function in select_functions(functions, names)]


def _write_choice(choice: ToolChoice) -> Any:
    return MISSING


def _write_messages(messages: Iterable[Message]) -> list[JSONObject]:
    return [_message(message) for message in messages]


def _message(message: Message) -> JSONObject:
    written: JSONObject = {"role": message.role, "content": message.text}
    if message.images:
        written["images"] = [image.read_data()[1] for image in message.images]
    if message.calls:
        written["tool_calls"] = [
            {"function": {"name": call.name, "arguments": call.read_arguments()}} for call in message.calls
        ]
    if message.name:
        written["tool_name"] = message.name
    return written


def _read_calls(document: Any) -> Iterator[ToolCallFragment]:
    for call in json.objects(get_path(document, "message", "tool_calls")):
        function = get_path(call, "function")
        yield complete_call(call.get("id"), get_path(function, "name"), get_path(function, "arguments"))


OLLAMA = ToolFormat(_write_tools, _write_choice, _write_messages, _read_calls)
