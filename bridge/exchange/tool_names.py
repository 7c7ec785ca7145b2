"""The member `tool_name` of messages with the results of tools, for upstreams that match results by name.

{"role": "tool", "tool_call_id": "a1", "content": "21"}  ─▶  {…, "tool_name": "feel"}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["with_tool_names"]


def with_tool_names(messages: list[JSONObject]) -> list[JSONObject]:
    """Return the messages, those of tools with the names of their functions; the same list without any."""
    for message in messages:
        if message["role"] == "tool":
            return _with_function_names(messages)
    return messages


def _with_function_names(messages: list[JSONObject]) -> list[JSONObject]:
    names: dict[Any, str] = {}
    named = []
    for message in messages:
        for call in json.objects(message.get("tool_calls")):
            function, call_id = call.get("function"), call.get("id")
            name = function.get("name") if isinstance(function, dict) else None
            if isinstance(name, str) and isinstance(call_id, str):
                names[call_id] = name
        call_id = message.get("tool_call_id")
        name = names.get(call_id) if message.get("role") == "tool" and isinstance(call_id, str) else None
        named.append(message if name is None else {**message, "tool_name": name})
    return named
