"""Anthropic's Messages: calls and their results are blocks of the content, streamed by the block.

    {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "pick", "input": {"n": 1}}]}
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "red"}]}

Roles alternate, so neighbours of one role are one message; empty texts are refused, so they are left out.
A stream counts blocks, not calls: text before them shifts their index, and the server's own tools (searches)
stream their input alike. An input is `{}` in the block's start and comes after it, unless it stays empty.
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

__all__ = ["ANTHROPIC"]


def _tools(functions: list[Function], wanted: ToolChoice) -> Any:
    return [
        {**function.declaration, "input_schema": function.schema}
        for function in select_functions(functions, wanted.allowed)
    ]


def _choice(wanted: ToolChoice) -> Any:
    if wanted.mode == "none":
        return {"type": "none"}
    if wanted.mode is None and wanted.parallel:
        return MISSING
    kind = {None: "auto", "auto": "auto", "required": "any"}[wanted.mode]
    choice: JSONObject = {"type": "tool", "name": wanted.name} if wanted.name else {"type": kind}
    return choice if wanted.parallel else {**choice, "disable_parallel_tool_use": True}


def _messages(turns: Iterable[Message]) -> list[JSONObject]:
    messages = merge_same_role(({"role": _role(turn), "content": _blocks(turn)} for turn in turns), "content")
    return [{**message, "content": _simplest(message["content"])} for message in messages]


def _role(turn: Message) -> str:
    return "user" if turn.role == "tool" else turn.role


def _blocks(turn: Message) -> list[JSONObject]:
    said = [_block(piece) for piece in turn.pieces]
    if turn.role == "tool":
        return [{"type": "tool_result", "tool_use_id": turn.tool_call_id, "content": _simplest(said)}]
    return said + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.read_arguments()}
        for call in turn.calls
    ]


def _block(piece: str | Image) -> JSONObject:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    if piece.is_remote:
        return {"type": "image", "source": {"type": "url", "url": piece.url}}
    media_type, data = piece.read_data()
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def _simplest(blocks: list[JSONObject]) -> str | list[JSONObject]:
    """A lone text as a string."""
    match blocks:
        case []:
            return ""
        case [{"type": "text", "text": str(text)}]:
            return text
    return blocks


def _calls(found: Any) -> Iterator[ToolCallFragment]:
    index = as_int(get_path(found, "index"))
    match get_path(found, "type"):
        case "content_block_start":
            block = get_path(found, "content_block")
            if get_path(block, "type") == "tool_use":
                given = json.dumps(block.get("input") or {}).decode()
                yield ToolCallFragment(
                    index, as_str(block.get("id")), as_str(block.get("name")), default_arguments=given
                )
        case "content_block_delta":
            if get_path(found, "delta", "type") == "input_json_delta":
                yield ToolCallFragment(index, arguments=as_str(get_path(found, "delta", "partial_json")))
        case "content_block_stop":
            yield ToolCallFragment(index, ended=True)
        case _:
            for block in json.objects(get_path(found, "content")):
                if block.get("type") == "tool_use":
                    yield complete_call(block.get("id"), block.get("name"), block.get("input"))


ANTHROPIC = ToolFormat(_tools, _choice, _messages, _calls, choice_sets_parallel=True)
