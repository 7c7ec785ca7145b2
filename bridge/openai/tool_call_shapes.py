"""Shapes of tool calls: OpenAI's, and those in which the members of the function lie in the call itself.

    {"id": "a", "type": "function", "function": {"name": "pick", "arguments": "{}"}}
    {"tool_use_id": "a", "name": "pick", "input": {}}      also `parameters` or `args` in place of `input`

Nothing is invented: a call without a name, and a call whose arguments lie under an unknown name, are errors,
since an agent would run a tool without its arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.messages import arguments_text
from bridge.openai.error_bodies import excerpt
from bridge.openai.normalize import omit, with_members

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.json import JSONObject

__all__ = ["call_function", "call_members", "normalize_tool_call", "unreadable_call"]

_ARGUMENTS = ("arguments", "input", "parameters", "args")
_KNOWN = frozenset({"id", "type", "index", "name", "function", "description", "extra_content", *_ARGUMENTS})
_NO_ARGUMENTS = ("", "null")
_MAX_MEMBERS = 300  # characters of member names in an error text


def call_function(call: JSONObject) -> tuple[JSONObject, JSONObject]:
    """Return the function of a call, or of a part of a call, and the call without members of the function."""
    function = call.get("function")
    if isinstance(function, dict):
        return _with_one_name(function), call
    flat = {name: call[name] for name in ("name", *_ARGUMENTS) if name in call}
    return _with_one_name(flat), omit(call, "name", *_ARGUMENTS)


def call_members(call: JSONObject, call_id: str, function: JSONObject) -> JSONObject:
    """Return the members of a call that are sent once. Raises UpstreamError without a name."""
    _check(call, function)
    kind = call.get("type")
    if not isinstance(call.get("function"), dict) or not isinstance(kind, str) or not kind:
        kind = "function"
    arguments = arguments_text(function.get("arguments"))
    return {"id": call_id, "type": kind, "function": with_members(function, {"arguments": arguments})}


def normalize_tool_call(number: int, call: JSONObject) -> JSONObject:
    """Return a call of a non-streaming response in OpenAI's shape. Raises UpstreamError without a name."""
    function, rest = call_function(call)
    members = call_members(call, str(call.get("id") or f"call_{number}"), function)
    # Clients parse the arguments, and cannot unpack null.
    if members["function"]["arguments"].strip() in _NO_ARGUMENTS:
        members["function"] = {**members["function"], "arguments": "{}"}
    return with_members(rest, members)


def unreadable_call(fault: str, call: Iterable[str]) -> UpstreamError:
    """Return the error for a call whose members cannot be read."""
    members = excerpt(", ".join(call), _MAX_MEMBERS) or "none"
    return UpstreamError(
        UpstreamFailure.MALFORMED,
        f"the upstream sent {fault}: expected OpenAI's shape, or `name` with one of {', '.join(_ARGUMENTS)};"
        f" found the members {members}",
    )


def _with_one_name(function: JSONObject) -> JSONObject:
    """Return a function with its arguments under OpenAI's name."""
    if "arguments" in function:
        return function
    for name in _ARGUMENTS[1:]:
        if name in function:
            return {**omit(function, name), "arguments": function[name]}
    return function


def _check(call: JSONObject, function: JSONObject) -> None:
    """Raise UpstreamError about a call without a name, or whose arguments may lie under another name."""
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise unreadable_call("a tool call without a name", call)
    if not function.get("arguments") and any(map(_may_be_arguments, _unread(call).values())):
        raise unreadable_call(f"a call of `{excerpt(name)}` without arguments that can be read", call)


def _unread(call: JSONObject) -> JSONObject:
    """Return the members of a call and of its function that nothing reads."""
    function = call.get("function")
    members = {**call, **function} if isinstance(function, dict) else call
    return {name: value for name, value in members.items() if name not in _KNOWN}


def _may_be_arguments(value: Any) -> bool:
    return bool(value) and (isinstance(value, dict | list) or (type(value) is str and value[:1] == "{"))
