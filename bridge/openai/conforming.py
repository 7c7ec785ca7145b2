"""Whole chats that are as OpenAI sends them: with nothing to mend, so that their own bytes can go on.

is_sound(body)     whether `mend_completion` would give back the same
sound_usage(body)  the token counts it tells

What is looked at here is the common case only: one choice that says a text.
"""

from __future__ import annotations

from typing import Any

from bridge.core.deltas import FINISH_REASONS, Usage
from bridge.openai.chat import CHAT

__all__ = ["is_conforming", "sound_usage"]

_LATEST = 2**53  # seconds of Unix time that every JSON reader takes exactly


def is_conforming(body: Any) -> bool:
    """Whether a body is a chat with nothing to mend, and one that was understood."""
    match body:
        case {
            "id": str(name),
            "object": CHAT.object,
            "created": int(created),
            "model": str(model),
            "choices": [{"message": {"role": "assistant", "content": str()} as message, **choice}],
        }:
            return (
                bool(name and model)
                and type(created) is int
                and 0 < created < _LATEST
                and "error" not in body
                and _is_sound_choice(choice, message)
                and ("usage" not in body or _is_sound_usage(body["usage"]))
            )
    return False


def _is_sound_choice(choice: dict[Any, Any], message: dict[Any, Any]) -> bool:
    index, finish = choice.get("index"), choice.get("finish_reason")
    return (
        type(index) is int
        and index == 0
        and type(finish) is str
        and finish in FINISH_REASONS
        and "usage" not in choice
        and message.get("tool_calls") is None
        and all(type(message[name]) in _TEXT for name in _THOUGHTS if name in message)
    )


def _is_sound_usage(told: Any) -> bool:
    """All counts are there, and nothing in them would be written in another way."""
    if type(told) is not dict:
        return False
    for name in _COUNTS:
        if type(told.get(name)) is not int or told[name] < 0:
            return False
    for value in told.values():
        if type(value) is dict:
            if not all(map(_is_exact, value.values())):
                return False
        elif not _is_exact(value) and (type(value) is not float or value.is_integer()):
            return False
    return True


def _is_exact(value: Any) -> bool:
    """Whether this is a count, or null where there is none: 1 is not -1, 1.0 or "1"."""
    return value >= 0 if type(value) is int else value is None


def sound_usage(body: dict[str, Any]) -> Usage | None:
    """The token counts of a body that is sound."""
    told = body.get("usage")
    if told is None:
        return None
    asked, said = told.get("prompt_tokens_details"), told.get("completion_tokens_details")
    return Usage(
        told["prompt_tokens"],
        told["completion_tokens"],
        told["total_tokens"],
        asked.get("cached_tokens") if type(asked) is dict else None,
        said.get("reasoning_tokens") if type(said) is dict else None,
    )


_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_THOUGHTS = ("reasoning_content", "reasoning")
_TEXT = (str, type(None))
