"""Body rules: how the upstream's body is built.

    UnchangedBody    the client's body
    EditedBody       the client's body after edits:
                     keep, drop ─▶ rename ─▶ content, message_keys, roles ─▶ fields
    TemplateBody     a template over the request document

Each rule determines which of the client's parameters are sent, so that the others are reported as dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.core.messages import content_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.json import JSONObject
    from bridge.expressions.scope import Scope
    from bridge.expressions.templates import ValueTemplate

__all__ = ["BodyRule", "EditedBody", "TemplateBody", "UnchangedBody"]


@dataclass(frozen=True, slots=True)
class UnchangedBody:
    """The client's body, as prepared for this upstream call."""

    reads: frozenset[str | None] = frozenset()

    def leaves_unchanged(self, body: JSONObject) -> bool:
        """Return whether the client's bytes may be sent."""
        return True

    def build(self, scope: Scope, body: JSONObject) -> Any:
        """Return the upstream's body."""
        return body

    def forwards(self, name: str) -> bool:
        """Return whether the client's parameter is sent."""
        return True

    def forwards_unchanged(self, name: str) -> bool:
        """Return whether the client's parameter is sent with its value unchanged."""
        return True


@dataclass(frozen=True, slots=True)
class EditedBody:
    """The client's body after edits."""

    keep: frozenset[str] | None = None  # None: all members
    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)
    joins_text: bool = False  # a content that is a list of text parts becomes a string
    message_keys: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    fields: ValueTemplate | None = None  # a template of a mapping
    sets: frozenset[str] = frozenset()  # the members of that mapping
    only_joins: bool = False  # there is no edit besides `joins_text`

    @property
    def reads(self) -> frozenset[str | None]:
        """Return the members of the request document that `fields` reads."""
        return self.fields.reads if self.fields else frozenset()

    def leaves_unchanged(self, body: JSONObject) -> bool:
        """Return whether the client's bytes may be sent."""
        return self.only_joins and not any(
            type(message.get("content")) is list for message in body.get("messages") or ()
        )

    def build(self, scope: Scope, body: JSONObject) -> Any:
        """Return the upstream's body."""
        edited = {
            self.rename.get(name, name): value for name, value in self._members(body) if self.forwards(name)
        }
        edits_messages = self.message_keys or self.roles or self.joins_text
        if edits_messages and isinstance(edited.get("messages"), list):
            edited["messages"] = [self._message(message) for message in edited["messages"]]
        added = self.fields(scope) if self.fields else {}
        return edited | {name: value for name, value in added.items() if name != "messages"}

    def forwards(self, name: str) -> bool:
        """Return whether the client's parameter is sent."""
        return name not in self.drop and (self.keep is None or name in self.keep)

    def forwards_unchanged(self, name: str) -> bool:
        """Return whether the client's parameter is sent with its value unchanged."""
        return self.forwards(name) and name not in self.sets

    def _members(self, body: JSONObject) -> list[tuple[str, Any]]:
        """Return the members, `max_completion_tokens` as `max_tokens` if edits name only the latter."""
        named = self.rename.keys() | (self.keep or frozenset())
        if "max_tokens" in named and "max_tokens" not in body and "max_completion_tokens" not in named:
            old = {"max_completion_tokens": "max_tokens"}
            return [(old.get(name, name), value) for name, value in body.items()]
        return list(body.items())

    def _message(self, message: JSONObject) -> JSONObject:
        """Return a message with its role and keys translated, and a list of nothing but texts as text."""
        role, content = message["role"], message.get("content")
        edited = {**message, "role": self.roles[role]} if role in self.roles else message
        if isinstance(content, list) and (self.joins_text or self.message_keys):
            text = content_text(message)
            edited = edited if text is None else {**edited, "content": text}
        if not self.message_keys:
            return edited
        return {self.message_keys.get(name, name): value for name, value in edited.items()}


@dataclass(frozen=True, slots=True)
class TemplateBody:
    """A template over the request document."""

    template: ValueTemplate

    @property
    def reads(self) -> frozenset[str | None]:
        """Return the members of the request document that the template reads."""
        return self.template.reads

    def leaves_unchanged(self, body: JSONObject) -> bool:
        """Return whether the client's bytes may be sent."""
        return False

    def build(self, scope: Scope, body: JSONObject) -> Any:
        """Return the upstream's body: an empty mapping if the template found nothing."""
        built = self.template(scope)
        return {} if built is MISSING else built

    def forwards(self, name: str) -> bool:
        """Return whether the client's parameter is sent."""
        return name in self.reads or bool(self.reads & {None, "raw"})

    def forwards_unchanged(self, name: str) -> bool:
        """Return whether the client's parameter is sent with its value unchanged."""
        return name in self.template.copied_members or bool(self.reads & {None, "raw"})


BodyRule = UnchangedBody | EditedBody | TemplateBody
