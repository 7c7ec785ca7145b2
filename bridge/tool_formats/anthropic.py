"""The tool format of Anthropic's Messages API: calls and results are blocks of the content.

    {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "pick", "input": {"n": 1}}]}
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "red"}]}

Roles must alternate, so neighbors of the same role are merged. Blank texts, empty messages, and calls without
tools are rejected. A stream numbers blocks, not calls: a text before a call shifts the index of the call, and
the input of tools that the server runs itself (searches) streams like that of calls. The input is `{}` in the
start of a block, and follows in fragments unless it is empty.
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


def _write_tools(functions: list[Function], choice: ToolChoice) -> Any:
    return [
        {**function.declaration, "input_schema": function.schema}
        for function in select_functions(functions, choice.allowed)
    ]


def _write_choice(choice: ToolChoice) -> Any:
    if choice.mode == "none":
        return {"type": "none"}
    if choice.mode is None and choice.parallel:
        return MISSING
    kind = {None: "auto", "auto": "auto", "required": "any"}[choice.mode]
    written: JSONObject = {"type": "tool", "name": choice.name} if choice.name else {"type": kind}
    return written if choice.parallel else {**written, "disable_parallel_tool_use": True}


def _write_messages(messages: Iterable[Message]) -> list[JSONObject]:
    written = ({"role": _role(message), "content": _blocks(message)} for message in messages)
    # A message without content is rejected.
    merged = merge_same_role((message for message in written if message["content"]), "content")
    return [{**message, "content": _simplified(message["content"])} for message in merged]


def _role(message: Message) -> str:
    return "user" if message.role == "tool" else message.role


def _blocks(message: Message) -> list[JSONObject]:
    blocks = [_block(piece) for piece in message.pieces]
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id}
        return [{**result, "content": _simplified(blocks)} if blocks else result]
    return blocks + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.read_arguments()}
        for call in message.calls
    ]


def _block(piece: str | Image) -> JSONObject:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    if piece.is_remote:
        return {"type": "image", "source": {"type": "url", "url": piece.url}}
    media_type, data = piece.read_data()
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def _simplified(blocks: list[JSONObject]) -> str | list[JSONObject]:
    """Return blocks, or the text of a single block of text."""
    match blocks:
        case [{"type": "text", "text": str(text)}]:
            return text
    return blocks


def _read_calls(document: Any) -> Iterator[ToolCallFragment]:
    index = as_int(get_path(document, "index"))
    match get_path(document, "type"):
        case "message_start":
            yield ToolCallFragment(begins_message=True)
            # A call by a program of the upstream arrives complete.
            yield from _complete_calls(get_path(document, "message", "content"))
        case "content_block_start":
            block = get_path(document, "content_block")
            if get_path(block, "type") == "tool_use":
                arguments = json.dumps(block.get("input") or {}).decode()
                yield ToolCallFragment(
                    index, as_str(block.get("id")), as_str(block.get("name")), default_arguments=arguments
                )
        case "content_block_delta":
            if get_path(document, "delta", "type") == "input_json_delta":
                yield ToolCallFragment(index, arguments=as_str(get_path(document, "delta", "partial_json")))
        case "content_block_stop":
            yield ToolCallFragment(index, ended=True)
        case _:
            yield from _complete_calls(get_path(document, "content"))


def _complete_calls(content: Any) -> Iterator[ToolCallFragment]:
    for block in json.objects(content):
        if block.get("type") == "tool_use":
            yield complete_call(block.get("id"), block.get("name"), block.get("input"))


ANTHROPIC = ToolFormat(
    _write_tools,
    _write_choice,
    _write_messages,
    _read_calls,
    choice_sets_parallel=True,
    calls_need_tools=True,
)
