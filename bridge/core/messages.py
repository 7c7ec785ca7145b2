"""Readers of what OpenAI's requests and responses are made of: messages, choices, tool calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_CHOICES", "arguments_text", "choice_index", "content_text", "visible_text"]

MAX_CHOICES = 128  # OpenAI's own limit of `n`


def content_text(message: Mapping[str, Any]) -> str | None:
    """Return the content of a message as text, one line for each text part; None if other parts are in it."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    texts = [part.get("text") for part in content if part.get("type", "text") in ("text", "input_text")]
    if len(texts) != len(content) or not all(isinstance(text, str) for text in texts):
        return None
    return "\n".join(texts)


def visible_text(message: Mapping[str, Any]) -> str:
    """Return the texts of a message, one line for each part, leaving out images and sound."""
    content = message.get("content")
    if type(content) is str:
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def choice_index(choice: Any, position: int) -> int:
    """Return the index of a choice, or its position in the list if the choice has no valid index."""
    index = choice.get("index") if isinstance(choice, dict) else None
    return index if type(index) is int and 0 <= index < MAX_CHOICES else position


def arguments_text(arguments: Any) -> str:
    """Return a tool call's arguments, which upstreams send as text or as JSON, as text; "" without any."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments).decode()
