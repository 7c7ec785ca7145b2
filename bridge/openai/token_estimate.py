"""Estimates of token counts for upstreams that send none (`emulate.usage: estimate`).

    text      a Latin letter, digit, sign or space     1/4 token    (English: about four characters each)
              a letter of another alphabet             1/2          (Cyrillic, Greek, Arabic, Hindi, …)
              a Chinese, Japanese or Korean character  1
              beyond the basic plane (emoji)           2
    message   3 tokens for its role and its ends, and 3 for the start of the response (OpenAI's own count)

Real tokenizers differ from one another by a third and more, and the estimate differs from them by about as
much. Estimates are marked `estimated: true` in responses. Quarters of a token are added character by
character, so that the estimate does not depend on how a text was cut.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.messages import visible_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.deltas import Delta
    from bridge.core.json import JSONObject

__all__ = ["TokenEstimator", "chat_tokens", "input_tokens", "text_tokens"]


class TokenEstimator:
    """Estimates the tokens of a response while it arrives."""

    __slots__ = ("_quarters",)

    def __init__(self) -> None:
        self._quarters = 0

    @property
    def tokens(self) -> int:
        """Return the tokens so far, rounded up."""
        return -(-self._quarters // 4)

    def add(self, delta: Delta) -> None:
        """Add the text, the reasoning and the tool calls of a delta."""
        self._quarters += _quarters(delta.text) + _quarters(delta.reasoning)
        for call in delta.tool_calls or ():
            function = call.get("function") or {}
            texts = (function.get("name"), function.get("arguments"))
            self._quarters += sum(_quarters(text) for text in texts if isinstance(text, str))


def text_tokens(text: str) -> int:
    """Return the estimate of a text."""
    return -(-_quarters(text) // 4)


def chat_tokens(body: JSONObject, messages: list[JSONObject]) -> int:
    """Return the estimate of a chat: its messages and the tools of its body.

    Images and sound in messages are not counted, since their cost differs from model to model.
    """
    tools = body.get("tools")
    tokens = sum(_message_tokens(message) for message in messages)
    return 3 + tokens + (text_tokens(json.dumps(tools).decode()) if tools else 0)


def input_tokens(name: str) -> Callable[[JSONObject, list[JSONObject]], int]:
    """Return the estimator of requests with texts or tokens in a member, or else in messages."""

    def estimate(body: JSONObject, messages: list[JSONObject]) -> int:
        return _tokens(body[name] if name in body else [message["content"] for message in messages])

    return estimate


def _tokens(value: Any) -> int:
    """Return the estimate of a text, or of a list of texts and tokens."""
    match value:
        case str():
            return text_tokens(value)
        case list():
            return sum(map(_tokens, value))
        case _:
            return 1  # a token


def _message_tokens(message: JSONObject) -> int:
    calls = message.get("tool_calls")
    return 3 + text_tokens(visible_text(message)) + (text_tokens(json.dumps(calls).decode()) if calls else 0)


def _quarters(text: str) -> int:
    if text.isascii():
        return len(text)
    # In parts, so that the list of the runs in a long text takes little memory.
    parts = (text[start : start + _PART] for start in range(0, len(text), _PART))
    return len(text) + sum(
        extra * sum(map(len, runs.findall(part))) for part in parts for runs, extra in _EXTRA_QUARTERS
    )


_PART = 65_536  # characters


# The quarters of a character of each kind beyond the first.
_EXTRA_QUARTERS = (
    (re.compile("[\u0370-\u10ff\u1200-\u1dff]+"), 1),
    (re.compile("[\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef]+"), 3),
    (re.compile("[\U00010000-\U0010ffff]+"), 7),
)
