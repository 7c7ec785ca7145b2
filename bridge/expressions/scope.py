"""What a rule may look at, and where its faults go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.deltas import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["RuleError", "RuleErrors", "Scope"]

_NOTHING: Mapping[str, str] = {}


class Scope:
    """One reading: the document (`$`), the element of a list (`$item`), SSE fields, response headers.

    On the request side the document is the request document; on the answer side it is what a frame
    carried. `headers` are keyed in lower case.
    """

    __slots__ = ("doc", "fields", "headers", "item")

    def __init__(
        self,
        doc: Any,
        item: Any = MISSING,
        fields: Mapping[str, str] = _NOTHING,
        headers: Mapping[str, str] = _NOTHING,
    ) -> None:
        self.doc = doc
        self.item = item
        self.fields = fields
        self.headers = headers

    def with_item(self, item: Any) -> Scope:
        """The same, looked at from one element of a list."""
        return Scope(self.doc, item, self.fields, self.headers)


class RuleError(NamedTuple):
    """Something wrong in a rule, `at` so many steps below the rule's top; `of_key`: with the key itself."""

    at: tuple[str | int, ...]
    message: str
    expected: str = ""
    known: tuple[str, ...] = ()
    word: str = ""
    of_key: bool = False


class RuleErrors:
    """Gathers the faults of one rule; `below` steps into a member of it."""

    __slots__ = ("_at", "found")

    def __init__(self, found: list[RuleError] | None = None, at: tuple[str | int, ...] = ()) -> None:
        self.found: list[RuleError] = [] if found is None else found
        self._at = at

    def below(self, step: str | int) -> RuleErrors:
        """For the faults of a member."""
        return RuleErrors(self.found, (*self._at, step))

    def add(self, message: str, *, expected: str = "", known: Iterable[str] = (), word: str = "") -> None:
        """Note a fault here."""
        self.found.append(RuleError(self._at, message, expected, tuple(known), word))

    def add_key(self, message: str, *, expected: str = "", known: Iterable[str] = (), word: str = "") -> None:
        """Note a fault of the key that led here."""
        self.found.append(RuleError(self._at, message, expected, tuple(known), word, of_key=True))

    def unknown(self, words: Iterable[Any], known: Iterable[str]) -> None:
        """Note every word that is not known."""
        known = tuple(known)
        for word in words:
            if word not in known:
                self.below(word).add_key("unknown key", known=known, word=str(word))
