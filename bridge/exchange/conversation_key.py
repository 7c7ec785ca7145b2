"""What a conversation is found by: a digest of all that was said in it.

The client sends the whole transcript with every turn. Up to its last answer it is what the bridge saw when
it gave that answer, so both ends make the same key. A digest, since stores need not know what was said.
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
    """The messages up to the last of the assistant's; none in a first turn."""
    return messages[: _behind_last_answer(messages)]


def new_turn(messages: Sequence[JSONObject]) -> Sequence[JSONObject]:
    """The messages behind it; results of tools with the names of theirs, which stand in the answer."""
    behind = _behind_last_answer(messages)
    calls = _calls(messages[behind - 1]) if behind else []
    names = {str(call.get("id")): _function(call).get("name") for call in calls}
    return [
        {"name": name, **message}
        if message["role"] == "tool" and (name := names.get(str(message.get("tool_call_id"))))
        else message
        for message in messages[behind:]
    ]


def conversation_key(whose: Sequence[str | None], messages: Sequence[JSONObject]) -> str:
    """The key of a transcript. `whose`: what else must be the same, such as route, model and client."""
    said = [[message["role"], _text(message), _called(message)] for message in messages]
    return sha256(json.dumps([list(whose), said])).hexdigest()


def _behind_last_answer(messages: Sequence[JSONObject]) -> int:
    answers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    return answers[-1] + 1 if answers else 0


def _text(message: JSONObject) -> Any:
    """What was said; clients trim what they keep of it."""
    text = content_text(message)
    return message.get("content") if text is None else text.strip()


def _called(message: JSONObject) -> list[list[Any]]:
    functions = map(_function, _calls(message))
    return [[function.get("name"), function.get("arguments")] for function in functions]


def _calls(message: JSONObject) -> list[JSONObject]:
    """The calls of tools in a message, which a client may have written in any shape."""
    return list(json.objects(message.get("tool_calls")))


def _function(call: JSONObject) -> JSONObject:
    function = call.get("function")
    return function if isinstance(function, dict) else {}
