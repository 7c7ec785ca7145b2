"""The input of expressions, and the errors of their compilation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.deltas import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MemberRead", "RuleError", "RuleErrors", "Scope"]

_EMPTY: Mapping[str, str] = {}


class Scope:
    """The data that an expression reads."""

    __slots__ = (
        "doc",  # `$`: the request document, or the document of an upstream response or frame
        "fields",  # the fields of an SSE event
        "headers",  # the headers of an upstream response, with names in lower case
        "item",  # `$item`: the current element of a list
    )

    def __init__(
        self,
        doc: Any,
        item: Any = MISSING,
        fields: Mapping[str, str] = _EMPTY,
        headers: Mapping[str, str] = _EMPTY,
    ) -> None:
        self.doc = doc
        self.item = item
        self.fields = fields
        self.headers = headers

    def with_item(self, item: Any) -> Scope:
        """Return this scope for one element of a list."""
        return Scope(self.doc, item, self.fields, self.headers)


class RuleError(NamedTuple):
    """One error of a rule."""

    steps: tuple[str | int, ...]  # keys and indexes from the top of the rule to the error
    message: str
    expected: str = ""
    known: tuple[str, ...] = ()  # the words that are allowed
    word: str = ""  # the word that was written
    of_key: bool = False  # the error is in the key, not in its value


class MemberRead(NamedTuple):
    """A member of the request document that a rule reads by its name."""

    steps: tuple[str | int, ...]  # keys and indexes from the top of the rule to the expression
    name: str
    in_template: bool  # by a template, not by a path
    of_key: bool = False  # the expression is a key


class RuleErrors:
    """The errors of one rule, collected while the rule is compiled, and the members that the rule reads."""

    __slots__ = ("_steps", "found", "reads")

    def __init__(
        self,
        found: list[RuleError] | None = None,
        steps: tuple[str | int, ...] = (),
        reads: list[MemberRead] | None = None,
    ) -> None:
        self.found: list[RuleError] = [] if found is None else found
        self.reads: list[MemberRead] = [] if reads is None else reads
        self._steps = steps

    def below(self, step: str | int) -> RuleErrors:
        """Return the collector for a member of the current value."""
        return RuleErrors(self.found, (*self._steps, step), self.reads)

    def add_read(self, name: str, *, in_template: bool = False, of_key: bool = False) -> None:
        """Add a member of the request document that the current value reads."""
        self.reads.append(MemberRead(self._steps, name, in_template, of_key))

    def add(self, message: str, *, expected: str = "", known: Iterable[str] = (), word: str = "") -> None:
        """Add an error of the current value."""
        self.found.append(RuleError(self._steps, message, expected, tuple(known), word))

    def add_key(self, message: str, *, expected: str = "", known: Iterable[str] = (), word: str = "") -> None:
        """Add an error of the current value's key."""
        self.found.append(RuleError(self._steps, message, expected, tuple(known), word, of_key=True))

    def check_keys(self, keys: Iterable[Any], known: Iterable[str]) -> None:
        """Add an error for every unknown key of the current mapping."""
        known = tuple(known)
        for key in keys:
            if key not in known:
                self.below(key).add_key("unknown key", known=known, word=str(key))
