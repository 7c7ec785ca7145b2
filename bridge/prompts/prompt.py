"""What a prompt is, and what it reads: the messages of the request document, as (role, text).

    {"role": "developer", "content": "Be brief."}   ─▶ Said("system", "Be brief.")
    {"role": "tool", "content": "21 °C"}            ─▶ Said("user", "21 °C")
    {"role": "assistant", "tool_calls": […]}        ─▶ Said("assistant", "")

Three roles are left of the many: whatever is neither the model's nor the operator's is told to the model
as the user's. Reading never fails; odd messages are refused elsewhere, or are worth an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bridge.core.messages import visible_text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MESSAGES", "Document", "Prompt", "PromptMessage", "Role", "messages_of", "read"]

Document = Mapping[str, Any]
Role = Literal["system", "user", "assistant"]

MESSAGES = frozenset({"messages"})
"""The `variables` of a prompt that reads nothing but the messages."""


class Prompt(NamedTuple):
    """How messages become one string.

    `render` takes the request document. `stop` are the strings at which a completion model begins to write
    the user's next turn. `variables` are the names of the request document that `render` reads. `cut` are
    stop strings that the server is not told of, since they are words which a chat may well hold.
    """

    render: Callable[[Document], str]
    stop: tuple[str, ...]
    variables: frozenset[str]
    cut: tuple[str, ...] = ()


class PromptMessage(NamedTuple):
    """One message, reduced to what a prompt shows of it."""

    role: Role
    text: str


def read(document: Document, tidy: Callable[[str], str] = str) -> list[PromptMessage]:
    """The messages in their order, each text made tidy as the format asks."""
    return [
        PromptMessage(_role(message.get("role")), tidy(visible_text(message)))
        for message in messages_of(document)
    ]


def messages_of(document: Document) -> list[Mapping[str, Any]]:
    """The messages as they came; none is an empty conversation."""
    return document.get("messages") or []


def _role(name: object) -> Role:
    match name:
        case "system" | "developer":
            return "system"
        case "assistant":
            return "assistant"
        case _:
            return "user"
