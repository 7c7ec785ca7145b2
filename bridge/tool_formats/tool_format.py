"""What a format of calls of tools is, and what the formats share.

    request    tools, tool_choice, messages   ─▶  as this server writes them
    answer     a frame, or a whole answer     ─▶  CallPiece, CallPiece, …

The request side may refuse what the client sent. The answer side never raises: servers lie, and what is not
in the promised shape is no call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core import json
from bridge.core.deltas import ToolCallFragment
from bridge.core.messages import arguments_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.core.json import JSONObject
    from bridge.tool_formats.messages import Message
    from bridge.tool_formats.tool_choice import Function, ToolChoice

__all__ = [
    "ToolFormat",
    "as_int",
    "as_object",
    "as_str",
    "complete_call",
    "get_path",
    "merge_same_role",
]


class ToolFormat(NamedTuple):
    """How a kind of server is told of tools, and tells of calls.

    `tools(functions, wanted)` is `$.tools`, `choice(wanted)` is `$.tool_choice`, each MISSING where nothing
    is to be sent; `messages(turns)` are `$.messages`. These raise RequestError. `calls(found)` are the pieces
    of calls in one frame, in a whole answer, or in one of several answers. `folds_parallel`: the choice says
    what `parallel_tool_calls` does.
    """

    tools: Callable[[list[Function], ToolChoice], Any]
    choice: Callable[[ToolChoice], Any]
    messages: Callable[[Iterable[Message]], list[JSONObject]]
    calls: Callable[[Any], Iterable[ToolCallFragment]]
    choice_sets_parallel: bool = False


def merge_same_role(messages: Iterable[JSONObject], content: str) -> list[JSONObject]:
    """Neighbours of one role as one message, the lists under `content` joined."""
    joined: list[JSONObject] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = {**message, content: joined[-1][content] + message[content]}
        else:
            joined.append(message)
    return joined


def as_object(text: str) -> JSONObject:
    """A tool's result for servers that take objects only: the one it is, or one that holds it."""
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    return found if isinstance(found, dict) else {"result": text}


def complete_call(known: Any, name: Any, arguments: Any, more: JSONObject | None = None) -> ToolCallFragment:
    """A call that is told at once, its arguments an object, or already text."""
    text = arguments_text(arguments or None) or "{}"
    return ToolCallFragment(None, as_str(known), as_str(name), text, more=more or {})


def as_str(found: Any) -> str:
    """A string, empty where it is none."""
    return found if isinstance(found, str) else ""


def as_int(found: Any) -> int | None:
    """An integer, None where it is none."""
    return found if type(found) is int else None


def get_path(found: Any, *names: str) -> Any:
    """What lies below these names; None where nothing does."""
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found
