"""Bedrock's Converse: calls and their results are blocks, each named by its only member.

    {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "pick", "input": {"n": 1}}}]}
    {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "red"}]}}]}

Roles alternate, so neighbours of one role are one message. There is no `none` among the choices: tools that
must not be called are not offered. A stream counts blocks, not calls; an event says by its members what it
is, and the one that ends a block has nothing but the block's index.
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


def _tools(functions: list[Function], wanted: ToolChoice) -> Any:
    if wanted.mode == "none":
        return MISSING
    return [
        {"toolSpec": {**function.declaration, "inputSchema": {"json": function.schema}}}
        for function in select_functions(functions, wanted.allowed)
    ]


def _choice(wanted: ToolChoice) -> Any:
    if wanted.name:
        return {"tool": {"name": wanted.name}}
    return {"auto": {"auto": {}}, "required": {"any": {}}}.get(wanted.mode or "", MISSING)


def _messages(turns: Iterable[Message]) -> list[JSONObject]:
    messages = merge_same_role(({"role": _role(turn), "content": _blocks(turn)} for turn in turns), "content")
    return [{**message, "content": message["content"] or [{"text": ""}]} for message in messages]


def _role(turn: Message) -> str:
    return "user" if turn.role == "tool" else turn.role


def _blocks(turn: Message) -> list[JSONObject]:
    said = [_block(piece) for piece in turn.pieces]
    if turn.role == "tool":
        return [{"toolResult": {"toolUseId": turn.tool_call_id, "content": said}}]
    return said + [
        {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.read_arguments()}}
        for call in turn.calls
    ]


def _block(piece: str | Image) -> JSONObject:
    if isinstance(piece, str):
        return {"text": piece}
    media_type, data = piece.read_data()
    form = media_type.partition("/")[2]
    return {"image": {"format": {"jpg": "jpeg"}.get(form, form), "source": {"bytes": data}}}


def _calls(found: Any) -> Iterator[ToolCallFragment]:
    index, start, delta = (
        as_int(get_path(found, "contentBlockIndex")),
        get_path(found, "start"),
        get_path(found, "delta"),
    )
    if called := get_path(start, "toolUse"):
        yield ToolCallFragment(index, as_str(get_path(called, "toolUseId")), as_str(get_path(called, "name")))
    elif streamed := get_path(delta, "toolUse"):
        yield ToolCallFragment(index, arguments=as_str(get_path(streamed, "input")))
    elif index is not None and start is None and delta is None:
        yield ToolCallFragment(index, ended=True)
    for block in json.objects(get_path(found, "output", "message", "content")):
        if isinstance(used := block.get("toolUse"), dict):
            yield complete_call(used.get("toolUseId"), used.get("name"), used.get("input"))


BEDROCK = ToolFormat(_tools, _choice, _messages, _calls)
