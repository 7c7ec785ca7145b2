"""Cohere's v2 chat: OpenAI's calls, results as documents, a choice of two words.

    {"role": "assistant", "tool_plan": "I will pick.", "tool_calls": [{"id": "c1", "type": "function", …}]}
    {"role": "tool", "tool_call_id": "c1", "content": [{"type": "document", "document": {"data": {…}}}]}

What is said beside calls is their plan. A document's data is an object. `REQUIRED` with the one tool that is
wanted is the choice of that tool. A stream has one event each for a call's start, its fragments and its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING, CallPiece
from bridge.tool_formats.messages import refused
from bridge.tool_formats.tool_choice import offered
from bridge.tool_formats.tool_format import ToolFormat, as_object, number, objects, reach, whole_call, word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.tool_formats.messages import Call, Image, Turn
    from bridge.tool_formats.tool_choice import Function, Wanted

__all__ = ["COHERE"]

Body = dict[str, Any]


def _tools(functions: list[Function], wanted: Wanted) -> Any:
    names = frozenset({wanted.name}) if wanted.name else wanted.allowed
    return [function.openai for function in offered(functions, names)]


def _choice(wanted: Wanted) -> Any:
    # `auto` is not among the words: it is what leaving the choice out means.
    return {"none": "NONE", "required": "REQUIRED"}.get(wanted.mode or "", MISSING)


def _messages(turns: Iterable[Turn]) -> list[Body]:
    return [_message(turn) for turn in turns]


def _message(turn: Turn) -> Body:
    if turn.role == "tool":
        for image in turn.images:
            raise refused(
                image.at,
                "is an image in a tool's result: this model's server takes text there",
                code="unsupported_content",
            )
        document = {"type": "document", "document": {"data": as_object(turn.text)}}
        return {"role": "tool", "tool_call_id": turn.answers, "content": [document]}
    if turn.calls:
        plan = {"tool_plan": turn.text} if turn.text else {}
        return {"role": turn.role, **plan, "tool_calls": [_call(call) for call in turn.calls]}
    return {"role": turn.role, "content": list(map(_part, turn.pieces)) if turn.images else turn.text}


def _part(piece: str | Image) -> Body:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    return {"type": "image_url", "image_url": {"url": piece.url}}


def _call(call: Call) -> Body:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def _calls(found: Any) -> Iterator[CallPiece]:
    index = number(reach(found, "index"))
    streamed = reach(found, "delta", "message", "tool_calls")
    function = reach(streamed, "function")
    match reach(found, "type"):
        case "tool-call-start":
            name = word(reach(function, "name"))
            yield CallPiece(index, word(reach(streamed, "id")), name, word(reach(function, "arguments")))
        case "tool-call-delta":
            yield CallPiece(index, arguments=word(reach(function, "arguments")))
        case "tool-call-end":
            yield CallPiece(index, ended=True)
        case _:
            for call in objects(reach(found, "message", "tool_calls")):
                function = reach(call, "function")
                yield whole_call(call.get("id"), reach(function, "name"), reach(function, "arguments"))


COHERE = ToolFormat(_tools, _choice, _messages, _calls)
