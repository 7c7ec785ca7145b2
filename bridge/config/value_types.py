"""Types of values in a file. One declaration checks a value, and describes the value to people and editors.

ValueType.check(node, problems) -> value | INVALID    every problem is added with its location
ValueType.schema()              -> JSON Schema        for completion in editors
ValueType.expected              -> "a duration, such as 5s or 500ms"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from bridge.core.strings import Interpolated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node

__all__ = ["ANY", "FLAG", "INVALID", "TEXT", "Constant", "Integer", "Keyword", "Text", "ValueType"]


class _Invalid(Enum):
    INVALID = "a problem was added"


INVALID: Final = _Invalid.INVALID


class ValueType:
    """A type of values. Subclasses define which nodes it accepts, and how they are read and described."""

    expected: str = "a value"

    def accepts(self, node: Node) -> bool:
        """Return whether a node has this type at all."""
        raise NotImplementedError

    def read(self, node: Node, problems: Problems) -> Any:
        """Return the value of an accepted node; INVALID if a problem was added."""
        return node.value

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of the type."""
        return {}

    def canonical(self, node: Node) -> Node:
        """Return a node in its one complete spelling, so that another tree can be merged over it."""
        return node

    def check(self, node: Node, problems: Problems) -> Any:
        """Return the value of any node; INVALID if a problem was added."""
        if self.accepts(node):
            return self.read(node, problems)
        problems.add(node.location, node.path, f"{node.kind} is not allowed here", expected=self.expected)
        return INVALID


@dataclass(frozen=True)
class Text(ValueType):
    """A string."""

    expected: str = "a string"
    lenient: bool = False  # numbers and booleans are accepted as strings
    pattern: str = "(?s).+"

    def accepts(self, node: Node) -> bool:
        if isinstance(node.value, str):
            return re.fullmatch(self.pattern, node.value) is not None
        return self.lenient and isinstance(node.value, int | float)

    def read(self, node: Node, problems: Problems) -> str:
        value = node.value
        if isinstance(value, bool):
            return str(value).lower()
        return value if isinstance(value, str) else str(value)

    def schema(self) -> dict[str, Any]:
        if self.lenient:
            return {"type": ["string", "number", "boolean"]}
        if self.pattern == Text.pattern:
            return {"type": "string", "minLength": 1}
        # Editors read the patterns of JavaScript, which have no escapes of half a character.
        return {"type": "string"} | ({} if "\\ud8" in self.pattern else {"pattern": f"^(?:{self.pattern})$"})


class Boolean(ValueType):
    """True or false."""

    expected = "true or false"

    def accepts(self, node: Node) -> bool:
        return isinstance(node.value, bool) or _interpolated_text(node) in {"true", "false"}

    def read(self, node: Node, problems: Problems) -> bool:
        return node.value if isinstance(node.value, bool) else _interpolated_text(node) == "true"

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Integer(ValueType):
    """An integer within limits, which are allowed values."""

    minimum: int = 0
    maximum: int | None = None

    @property
    def expected(self) -> str:  # type: ignore[override]
        limit = f", at most {self.maximum}" if self.maximum else ""
        return f"a whole number of at least {self.minimum}{limit}"

    def accepts(self, node: Node) -> bool:
        value = self._value(node)
        return value is not None and value >= self.minimum and (self.maximum is None or value <= self.maximum)

    def read(self, node: Node, problems: Problems) -> int | None:
        return self._value(node)

    def _value(self, node: Node) -> int | None:
        text = _interpolated_text(node)
        if text.isdecimal():
            return int(text)
        return node.value if isinstance(node.value, int) and not isinstance(node.value, bool) else None

    def schema(self) -> dict[str, Any]:
        limit = {"maximum": self.maximum} if self.maximum else {}
        return {"type": "integer", "minimum": self.minimum} | limit


class Constant(ValueType):
    """One value, such as `false`."""

    def __init__(self, value: Any, word: str) -> None:
        self._value = value
        self.expected = word

    def accepts(self, node: Node) -> bool:
        return node.value is self._value

    def schema(self) -> dict[str, Any]:
        return {"const": self._value}


class Keyword(ValueType):
    """One of several words."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(words)
        self.expected = f"one of {', '.join(self.words)}"

    def accepts(self, node: Node) -> bool:
        return isinstance(node.value, str)

    def read(self, node: Node, problems: Problems) -> Any:
        if not isinstance(node.value, Interpolated):
            node.secret = False  # one of the words, or a misspelling of one
        if node.value in self.words:
            return str(node.value)
        message = f"`{node.value}` is not allowed here"
        problems.add(node.location, node.path, message, known=self.words, word=node.value)
        return INVALID

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


class Anything(ValueType):
    """Any JSON value, read as plain data."""

    expected = "any value"

    def accepts(self, node: Node) -> bool:
        return True

    def read(self, node: Node, problems: Problems) -> Any:
        return node.plain()


def _interpolated_text(node: Node) -> str:
    """Return the text of an interpolated string, which may represent a number or a boolean; else ""."""
    return str(node.value).strip().lower() if isinstance(node.value, Interpolated) else ""


TEXT = Text()
FLAG = Boolean()
ANY = Anything()
