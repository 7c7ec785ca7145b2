"""The request side of a route, compiled: how the upstream's body is made.

    AsIs      the client's body
    Edited    the client's body with edits:  keep, drop ─▶ rename ─▶ message_keys, roles ─▶ fields
    Built     a body from nothing, by a template over the request document

Each says which of the client's parameters reach the server, so that the others can be named as dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.core.errors import RequestError
from bridge.core.messages import content_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.json import JSONObject
    from bridge.expressions.scope import Scope
    from bridge.expressions.templates import ValueTemplate

__all__ = ["BodyRule", "EditedBody", "TemplateBody", "UnchangedBody"]


@dataclass(frozen=True, slots=True)
class UnchangedBody:
    """The client's body, passed on."""

    reads: frozenset[str | None] = frozenset()

    def build(self, scope: Scope, body: JSONObject) -> Any:
        """The client's body, as the exchange has prepared it."""
        return body

    def forwards(self, name: str) -> bool:
        """Whether the client's parameter reaches the server."""
        return True

    def forwards_unchanged(self, name: str) -> bool:
        """Whether it does so whole."""
        return True


@dataclass(frozen=True, slots=True)
class EditedBody:
    """The client's body, edited. `fields` is a template of a mapping, whose members are `sets`."""

    keep: frozenset[str] | None = None
    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)
    message_keys: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    fields: ValueTemplate | None = None
    sets: frozenset[str] = frozenset()

    @property
    def reads(self) -> frozenset[str | None]:
        """The members of the request document that the added fields look at."""
        return self.fields.reads if self.fields else frozenset()

    def build(self, scope: Scope, body: JSONObject) -> Any:
        """The edited body."""
        edited = {
            self.rename.get(name, name): value for name, value in self._renamable(body) if self.forwards(name)
        }
        if (self.message_keys or self.roles) and isinstance(edited.get("messages"), list):
            edited["messages"] = [self._message(message) for message in edited["messages"]]
        added = self.fields(scope) if self.fields else {}
        return edited | {name: value for name, value in added.items() if name != "messages"}

    def forwards(self, name: str) -> bool:
        """Whether the client's parameter reaches the server."""
        return name not in self.drop and (self.keep is None or name in self.keep)

    def forwards_unchanged(self, name: str) -> bool:
        """Whether it does so whole, and no field of the route takes its place."""
        return self.forwards(name) and name not in self.sets

    def _renamable(self, body: JSONObject) -> list[tuple[str, Any]]:
        """The members; newer clients' `max_completion_tokens` stands for `max_tokens` where that is meant."""
        named = self.rename.keys() | (self.keep or frozenset())
        if "max_tokens" in named and "max_tokens" not in body and "max_completion_tokens" not in named:
            old = {"max_completion_tokens": "max_tokens"}
            return [(old.get(name, name), value) for name, value in body.items()]
        return list(body.items())

    def _message(self, message: JSONObject) -> JSONObject:
        """One message, its role and content under other names, its content as text."""
        text = content_text(message)
        if text is None:
            raise RequestError(
                400,
                "this model takes text only: a message holds a content part that is no text",
                param="messages",
                code="unsupported_content",
            )
        edited = {**message, "role": self.roles.get(message["role"], message["role"]), "content": text}
        return {self.message_keys.get(name, name): value for name, value in edited.items()}


@dataclass(frozen=True, slots=True)
class TemplateBody:
    """A body built from nothing."""

    template: ValueTemplate

    @property
    def reads(self) -> frozenset[str | None]:
        """The members of the request document that the template looks at."""
        return self.template.reads

    def build(self, scope: Scope, body: JSONObject) -> Any:
        """The built body; an empty mapping where the template found nothing at all."""
        built = self.template(scope)
        return {} if built is MISSING else built

    def forwards(self, name: str) -> bool:
        """Whether the client's parameter reaches the server."""
        return name in self.reads or bool(self.reads & {None, "raw"})

    def forwards_unchanged(self, name: str) -> bool:
        """Whether it does so whole."""
        return name in self.template.copied_members or bool(self.reads & {None, "raw"})


BodyRule = UnchangedBody | EditedBody | TemplateBody
