"""The description of a prompt, and the messages of the request document as (role, text).

    {"role": "developer", "content": "Be brief."}   ─▶ PromptMessage("system", "Be brief.")
    {"role": "tool", "content": "21 °C"}            ─▶ PromptMessage("user", "21 °C")
    {"role": "assistant", "tool_calls": […]}        ─▶ PromptMessage("assistant", "")

Prompts have three roles: messages of any other role are the user's. Reading never fails, since invalid
messages are rejected before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bridge.core.messages import visible_text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MESSAGES", "Document", "Prompt", "PromptMessage", "Role", "messages_of", "read_messages"]

Document = Mapping[str, Any]
Role = Literal["system", "user", "assistant"]

MESSAGES = frozenset({"messages"})
"""The `variables` of a prompt that only reads the messages."""


class Prompt(NamedTuple):
    """A conversion of the request document to one string."""

    render: Callable[[Document], str]
    stop: tuple[str, ...]  # strings with which a completion model begins the user's next turn
    variables: frozenset[str]  # the members of the request document that `render` reads
    cut: tuple[str, ...] = ()  # stop strings that the bridge applies itself, as a chat may contain the words
    parts: frozenset[str] = frozenset({"system", "turns", "last"})  # of the conversation that are written
    is_template: bool = False  # written in Jinja, so that its work may exceed the length of the messages


class PromptMessage(NamedTuple):
    """A message as prompts write it."""

    role: Role
    text: str


def read_messages(document: Document, clean: Callable[[str], str] = str) -> list[PromptMessage]:
    """Return the messages with their texts cleaned by a function."""
    return [
        PromptMessage(_role(message.get("role")), clean(visible_text(message)))
        for message in messages_of(document)
    ]


def messages_of(document: Document) -> list[Mapping[str, Any]]:
    """Return the messages of the request document."""
    return document.get("messages") or []


def _role(name: object) -> Role:
    match name:
        case "system" | "developer":
            return "system"
        case "assistant":
            return "assistant"
        case _:
            return "user"
