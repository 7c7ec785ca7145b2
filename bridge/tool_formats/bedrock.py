"""Bedrock's Converse: calls and their results are blocks, each named by its only member.

    {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "pick", "input": {"n": 1}}}]}
    {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "red"}]}}]}

Roles alternate, so neighbours of one role are one message. There is no `none` among the choices: tools that
must not be called are not offered. A stream counts blocks, not calls; an event says by its members what it
is, and the one that ends a block has nothing but the block's index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING, CallPiece
from bridge.tool_formats.tool_choice import offered
from bridge.tool_formats.tool_format import ToolFormat, merged, number, objects, reach, whole_call, word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.tool_formats.messages import Image, Turn
    from bridge.tool_formats.tool_choice import Function, Wanted

__all__ = ["BEDROCK"]

Body = dict[str, Any]


def _tools(functions: list[Function], wanted: Wanted) -> Any:
    if wanted.mode == "none":
        return MISSING
    return [
        {"toolSpec": {**function.told, "inputSchema": {"json": function.schema}}}
        for function in offered(functions, wanted.allowed)
    ]


def _choice(wanted: Wanted) -> Any:
    if wanted.name:
        return {"tool": {"name": wanted.name}}
    return {"auto": {"auto": {}}, "required": {"any": {}}}.get(wanted.mode or "", MISSING)


def _messages(turns: Iterable[Turn]) -> list[Body]:
    messages = merged(({"role": _role(turn), "content": _blocks(turn)} for turn in turns), "content")
    return [{**message, "content": message["content"] or [{"text": ""}]} for message in messages]


def _role(turn: Turn) -> str:
    return "user" if turn.role == "tool" else turn.role


def _blocks(turn: Turn) -> list[Body]:
    said = [_block(piece) for piece in turn.pieces]
    if turn.role == "tool":
        return [{"toolResult": {"toolUseId": turn.answers, "content": said}}]
    return said + [
        {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.read_arguments()}}
        for call in turn.calls
    ]


def _block(piece: str | Image) -> Body:
    if isinstance(piece, str):
        return {"text": piece}
    media_type, data = piece.read_data()
    form = media_type.partition("/")[2]
    return {"image": {"format": {"jpg": "jpeg"}.get(form, form), "source": {"bytes": data}}}


def _calls(found: Any) -> Iterator[CallPiece]:
    index, start, delta = (
        number(reach(found, "contentBlockIndex")),
        reach(found, "start"),
        reach(found, "delta"),
    )
    if called := reach(start, "toolUse"):
        yield CallPiece(index, word(reach(called, "toolUseId")), word(reach(called, "name")))
    elif streamed := reach(delta, "toolUse"):
        yield CallPiece(index, arguments=word(reach(streamed, "input")))
    elif index is not None and start is None and delta is None:
        yield CallPiece(index, ended=True)
    for block in objects(reach(found, "output", "message", "content")):
        if isinstance(used := block.get("toolUse"), dict):
            yield whole_call(used.get("toolUseId"), used.get("name"), used.get("input"))


BEDROCK = ToolFormat(_tools, _choice, _messages, _calls)
