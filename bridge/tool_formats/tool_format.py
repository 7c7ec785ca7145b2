"""The description of a tool format, and the readers and writers that formats share.

Writers may reject a request. Readers never raise, since a response may contain anything: a value that is not
in the expected shape is not a tool call.
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
    """The format of one vendor's tool calls.

    Writers return the values of `$.tools`, `$.tool_choice` and `$.messages`, or MISSING for a value that is
    not sent. Writers raise RequestError about a request that the format cannot express.
    """

    write_tools: Callable[[list[Function], ToolChoice], Any]
    write_choice: Callable[[ToolChoice], Any]
    write_messages: Callable[[Iterable[Message]], list[JSONObject]]
    read_calls: Callable[[Any], Iterable[ToolCallFragment]]  # from a frame, a body, or one of several choices
    choice_sets_parallel: bool = False  # `$.tool_choice` carries `parallel_tool_calls`
    calls_need_tools: bool = False  # messages with calls are rejected without tools
    write_schema: Callable[[JSONObject, str], JSONObject] | None = (
        None  # of `response_format`; None: unchanged
    )


def merge_same_role(messages: Iterable[JSONObject], content: str) -> list[JSONObject]:
    """Merge neighbors of the same role: join the lists under `content`, which are changed."""
    merged: list[JSONObject] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            joined = merged[-1][content]
            joined += message[content]  # in place: a new list for each message would be work with the square
            merged[-1] = {**message, content: joined}
        else:
            merged.append(message)
    return merged


def as_object(text: str) -> JSONObject:
    """Return the result of a tool as an object: the text as JSON, or an object that contains the text."""
    try:
        value = json.loads_text(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"result": text}


def complete_call(
    call_id: Any, name: Any, arguments: Any, more: JSONObject | None = None
) -> ToolCallFragment:
    """Return a call that arrives complete, with its arguments as JSON or as text."""
    text = arguments_text(arguments or None)
    if text.strip() in ("", "null"):  # clients cannot unpack null
        text = "{}"
    return ToolCallFragment(None, as_str(call_id), as_str(name), text, more=more or {})


def as_str(value: Any) -> str:
    """Return a string; "" for any other value."""
    return value if isinstance(value, str) else ""


def as_int(value: Any) -> int | None:
    """Return an integer; None for any other value."""
    return value if type(value) is int else None


def get_path(value: Any, *names: str) -> Any:
    """Return the value below these names; None if a member is missing."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
