"""Members of OpenAI's own format that no slot reads, for responses that are read into deltas.

    {"choices": [{"delta": {"refusal": "No."}, "filter": {…}}], "system_fingerprint": "f"}
      ─▶  Rest({"refusal": "No."}, {"filter": {…}}, {"system_fingerprint": "f"})

A route that adjusts OpenAI's format, and a request whose response is cut or converted, lose nothing that a
passthrough would have given. Members of choices and chunks are returned once, and again when they change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING, Rest
from bridge.openai.normalize import omit, thinking_text

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.expressions.scope import Scope

__all__ = ["OpenAIRest", "replaces_text"]

_READ_OF_BODY = frozenset({"id", "object", "created", "model", "choices", "usage", "error"})
_READ_OF_CHOICE = frozenset({
    "index", "message", "delta", "text", "finish_reason", "logprobs", "usage", "error",
})  # fmt: skip
_READ_OF_MESSAGE = frozenset({"role", "content", "reasoning_content", "reasoning", "tool_calls"})
_ALTERNATIVES = ("refusal", "function_call", "audio")  # of text


class OpenAIRest:
    """The members that no slot reads, of one response."""

    __slots__ = (
        "_bodies",  # members of the body that were returned
        "_choices",  # members of each choice that were returned
        "_message",  # the member with the message: `message` or `delta`
        "_said",  # choices and the members of their deltas
    )

    def __init__(self, message: str) -> None:
        self._message = message
        self._bodies: JSONObject = {}
        self._choices: dict[int, JSONObject] = {}
        self._said: set[tuple[int, str]] = set()

    def choice_scope(self, index: int, scope: Scope) -> Scope:
        """Return the scope of a choice, a message in place of a delta as the delta.

        The last chunk of some upstreams repeats the whole message: only what is new becomes the delta.
        """
        item = scope.item
        if self._message != "delta" or not isinstance(item, dict):
            return scope
        delta = item.get("delta")
        if isinstance(delta, dict):
            self._said.update((index, name) for name, value in delta.items() if value)
        elif isinstance(message := item.get("message"), dict):
            new = omit(message, *(name for name in message if (index, name) in self._said))
            return scope.with_item({**item, "delta": new})
        return scope

    def read(self, index: int, scope: Scope) -> Rest | None:
        """Return the members of a choice that no slot reads; None without such members."""
        item, doc = scope.item, scope.doc
        if not isinstance(item, dict):
            return None
        message = _unread(item.get(self._message), _READ_OF_MESSAGE, {})
        sent = self._choices.setdefault(index, {})
        choice = _unread(item, _READ_OF_CHOICE, sent)
        sent.update(choice)
        body = _unread(doc, _READ_OF_BODY, self._bodies)
        self._bodies.update(body)
        return Rest(message, choice, body) if message or choice or body else None

    def reasoning(self, scope: Scope) -> Any:
        """Return the reasoning among the content parts of a choice (Mistral's reasoning models)."""
        item = scope.item
        message = item.get(self._message) if isinstance(item, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        return (thinking_text(content) or MISSING) if isinstance(content, list) else MISSING


def replaces_text(rest: Rest | None) -> bool:
    """Return whether a choice has a refusal, a function call or audio in place of text."""
    return rest is not None and not rest.message.keys().isdisjoint(_ALTERNATIVES)


def _unread(value: Any, read: frozenset[str], sent: JSONObject) -> JSONObject:
    if not isinstance(value, dict):
        return {}
    return {
        name: member
        for name, member in value.items()
        if name not in read and member is not None and sent.get(name) != member
    }
