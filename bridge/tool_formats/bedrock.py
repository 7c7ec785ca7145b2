"""The tool format of Bedrock's Converse API: calls and results are blocks, named by their only member.

    {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "pick", "input": {"n": 1}}}]}
    {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "red"}]}}]}

Roles must alternate, so neighbors of the same role are merged. The choice `none` is missing: tools that must
not be called are not sent. A stream numbers blocks, not calls. The members of an event are its type; the
event that ends a block has no member but the index of the block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING, ToolCallFragment
from bridge.tool_formats.tool_choice import select_functions
from bridge.tool_formats.tool_format import (
    ToolFormat,
    as_int,
    as_str,
    complete_call,
    get_path,
    merge_same_role,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.core.json import JSONObject
    from bridge.tool_formats.messages import Image, Message
    from bridge.tool_formats.tool_choice import Function, ToolChoice

__all__ = ["BEDROCK"]


def _write_tools(functions: list[Function], choice: ToolChoice) -> Any:
    if choice.mode == "none":
        return MISSING
    return [
        {"toolSpec": {**function.declaration, "inputSchema": {"json": function.schema}}}
        for function in select_functions(functions, choice.allowed)
    ]


def _write_choice(choice: ToolChoice) -> Any:
    if choice.name:
        return {"tool": {"name": choice.name}}
    return {"auto": {"auto": {}}, "required": {"any": {}}}.get(choice.mode or "", MISSING)


def _write_messages(messages: Iterable[Message]) -> list[JSONObject]:
    written = ({"role": _role(message), "content": _blocks(message)} for message in messages)
    # A message without content is rejected, and so is a blank text.
    return merge_same_role((message for message in written if message["content"]), "content")


def _role(message: Message) -> str:
    return "user" if message.role == "tool" else message.role


def _blocks(message: Message) -> list[JSONObject]:
    blocks = [_block(piece) for piece in message.pieces]
    if message.role == "tool":
        return [{"toolResult": {"toolUseId": message.tool_call_id, "content": blocks}}]
    return blocks + [
        {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.read_arguments()}}
        for call in message.calls
    ]


def _block(piece: str | Image) -> JSONObject:
    if isinstance(piece, str):
        return {"text": piece}
    media_type, data = piece.read_data()
    return {"image": {"format": media_type.partition("/")[2], "source": {"bytes": data}}}


def _read_calls(document: Any) -> Iterator[ToolCallFragment]:
    index = as_int(get_path(document, "contentBlockIndex"))
    start, delta = get_path(document, "start"), get_path(document, "delta")
    if (call := get_path(start, "toolUse")) and get_path(call, "type") == _SERVER_CALL:
        return
    if call:
        yield ToolCallFragment(index, as_str(get_path(call, "toolUseId")), as_str(get_path(call, "name")))
    elif fragment := get_path(delta, "toolUse"):
        yield ToolCallFragment(index, arguments=as_str(get_path(fragment, "input")))
    elif index is not None and start is None and delta is None:
        yield ToolCallFragment(index, ended=True)
    content = list(json.objects(get_path(document, "output", "message", "content")))
    # A call that has its result in the same message was made by the upstream itself.
    own = {get_path(block, "toolResult", "toolUseId") for block in content}
    for block in content:
        call = block.get("toolUse")
        if isinstance(call, dict) and call.get("type") != _SERVER_CALL and call.get("toolUseId") not in own:
            yield complete_call(call.get("toolUseId"), call.get("name"), call.get("input"))


_SERVER_CALL = "server_tool_use"

BEDROCK = ToolFormat(_write_tools, _write_choice, _write_messages, _read_calls, calls_need_tools=True)
