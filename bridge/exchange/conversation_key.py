"""Keys of conversations: digests under which an upstream's session is kept for the next turn.

The client sends the whole transcript with every turn. The transcript up to its last assistant message is what
the bridge had seen when it sent that message, so that both turns give the same key. The key is a digest, so
that the stores of sessions hold no texts.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.messages import content_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.json import JSONObject

__all__ = ["conversation_key", "history", "new_turn"]


def history(messages: Sequence[JSONObject]) -> Sequence[JSONObject]:
    """Return the messages up to the assistant's last; none in a first turn."""
    return messages[: _history_length(messages)]


def new_turn(messages: Sequence[JSONObject]) -> Sequence[JSONObject]:
    """Return the messages after the history, results of tools with the names of their tools.

    The name of a tool is in the assistant's message, which is not sent again.
    """
    length = _history_length(messages)
    calls = json.objects(messages[length - 1].get("tool_calls")) if length else ()
    names = {str(call.get("id")): _function(call).get("name") for call in calls}
    return [
        {"name": name, **message}
        if message["role"] == "tool" and (name := names.get(str(message.get("tool_call_id"))))
        else message
        for message in messages[length:]
    ]


def conversation_key(scope: Sequence[str | None], messages: Sequence[JSONObject]) -> str:
    """Return the key of a transcript within a scope: values that must be equal too, such as the model."""
    transcript = [[message["role"], _text(message), _tool_calls(message)] for message in messages]
    return sha256(json.dumps([list(scope), transcript])).hexdigest()


def _history_length(messages: Sequence[JSONObject]) -> int:
    return max((n for n, message in enumerate(messages, 1) if message["role"] == "assistant"), default=0)


def _text(message: JSONObject) -> Any:
    """Return the text of a message, trimmed as clients trim the text that they keep."""
    text = content_text(message)
    return message.get("content") if text is None else text.strip()


def _tool_calls(message: JSONObject) -> list[list[Any]]:
    """Return the names and arguments of the tool calls in a message."""
    functions = map(_function, json.objects(message.get("tool_calls")))
    return [[function.get("name"), function.get("arguments")] for function in functions]


def _function(call: JSONObject) -> JSONObject:
    function = call.get("function")
    return function if isinstance(function, dict) else {}
