"""What a value of the file may be. One declaration checks it, describes it to people and to editors.

Shape.check(node, problems) -> value | INVALID      every fault goes to `problems`, with its place
Shape.schema()              -> JSON Schema           completes `routes.yaml` in editors
Shape.expected              -> "a duration, such as 5s or 500ms"
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

__all__ = [
    "ANY",
    "FLAG",
    "INVALID",
    "TEXT",
    "AnyOf",
    "Deferred",
    "Integer",
    "Keyword",
    "ListOf",
    "MapOf",
    "OneOrMany",
    "Text",
    "ValueType",
    "WithNode",
]  # fmt: skip


class _Invalid(Enum):
    INVALID = "a fault was reported"


INVALID: Final = _Invalid.INVALID


class ValueType:
    """A kind of value. Subclasses say what they take, how it is read and how it is described."""

    expected: str = "a value"

    def accepts(self, node: Node) -> bool:
        """Whether the node is of this kind at all."""
        raise NotImplementedError

    def read(self, node: Node, problems: Problems) -> Any:
        """The value of a node that is taken, or INVALID."""
        return node.value

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of it."""
        return {}

    def canonical(self, node: Node) -> Node:
        """The same in its one full spelling, so that another tree can be laid over it."""
        return node

    def check(self, node: Node, problems: Problems) -> Any:
        """The value, or INVALID with the fault reported."""
        if self.accepts(node):
            return self.read(node, problems)
        problems.add(node.location, node.path, f"{node.kind} is not allowed here", expected=self.expected)
        return INVALID


@dataclass(frozen=True)
class Text(ValueType):
    """A string, of some form where there is a `pattern`. `lenient`: numbers and booleans become strings."""

    expected: str = "a string"
    lenient: bool = False
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
        return {"type": ["string", "number", "boolean"] if self.lenient else "string"}


class Boolean(ValueType):
    """True or false."""

    expected = "true or false"

    def accepts(self, node: Node) -> bool:
        return isinstance(node.value, bool) or _outside(node) in {"true", "false"}

    def read(self, node: Node, problems: Problems) -> bool:
        return node.value if isinstance(node.value, bool) else _outside(node) == "true"

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Integer(ValueType):
    """An integer of at least `least`."""

    minimum: int = 0
    maximum: int | None = None

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f"a whole number of at least {self.minimum}" + (
            f", at most {self.maximum}" if self.maximum else ""
        )

    def accepts(self, node: Node) -> bool:
        value = self._value(node)
        return value is not None and value >= self.minimum and (self.maximum is None or value <= self.maximum)

    def read(self, node: Node, problems: Problems) -> int | None:
        return self._value(node)

    def _value(self, node: Node) -> int | None:
        text = _outside(node)
        if text.isdecimal():
            return int(text)
        return node.value if isinstance(node.value, int) and not isinstance(node.value, bool) else None

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum} | (
            {"maximum": self.maximum} if self.maximum else {}
        )


class Keyword(ValueType):
    """One of some words."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(words)
        self.expected = f"one of {', '.join(self.words)}"

    def accepts(self, node: Node) -> bool:
        return isinstance(node.value, str)

    def read(self, node: Node, problems: Problems) -> Any:
        if not isinstance(node.value, Interpolated):
            node.secret = False  # a word of the language, or meant as one
        if node.value in self.words:
            return str(node.value)
        problems.add(
            node.location, node.path, f"`{node.value}` is not known here", known=self.words, word=node.value
        )
        return INVALID

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


class Anything(ValueType):
    """Any JSON value, as plain data."""

    expected = "any value"

    def accepts(self, node: Node) -> bool:
        return True

    def read(self, node: Node, problems: Problems) -> Any:
        return node.plain()


class Deferred(ValueType):
    """A mapping that is checked by itself later: its node is passed on."""

    def __init__(self, shape: ValueType) -> None:
        self.shape = shape
        self.expected = shape.expected

    def accepts(self, node: Node) -> bool:
        return self.shape.accepts(node)

    def read(self, node: Node, problems: Problems) -> Any:
        return node

    def schema(self) -> dict[str, Any]:
        return self.shape.schema()


class WithNode(Deferred):
    """A value together with its node, for what is told of it later."""

    def read(self, node: Node, problems: Problems) -> Any:
        value = self.shape.read(node, problems)
        return INVALID if value is INVALID else (node, value)


@dataclass(frozen=True)
class ListOf(ValueType):
    """A list of one kind of value, read as a tuple."""

    of: ValueType
    min_items: int = 0

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f"a list{' of at least one' if self.min_items else ''}, each {self.of.expected}"

    def accepts(self, node: Node) -> bool:
        return isinstance(node.value, list) and len(node.value) >= self.min_items

    def read(self, node: Node, problems: Problems) -> Any:
        values = [self.of.check(item, problems) for item in node.value]
        return INVALID if INVALID in values else tuple(values)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.of.schema(), "minItems": self.min_items}


@dataclass(frozen=True)
class OneOrMany(ValueType):
    """One value or a list of at least so many, read as a tuple."""

    of: ValueType
    min_items: int = 1

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f"{self.of.expected}, or a list of such"

    def accepts(self, node: Node) -> bool:
        if isinstance(node.value, list):
            return len(node.value) >= self.min_items
        return self.of.accepts(node)

    def read(self, node: Node, problems: Problems) -> Any:
        if isinstance(node.value, list):
            return ListOf(self.of).read(node, problems)
        value = self.of.read(node, problems)
        return INVALID if value is INVALID else (value,)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.of.schema(), ListOf(self.of, min_items=self.min_items).schema()]}


@dataclass(frozen=True)
class MapOf(ValueType):
    """A mapping of names to one kind of value."""

    of: ValueType

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f"a mapping of names, each to {self.of.expected}"

    def accepts(self, node: Node) -> bool:
        return isinstance(node.value, dict)

    def read(self, node: Node, problems: Problems) -> Any:
        values = {str(name): self.of.check(item, problems) for name, item in node.value.items()}
        return INVALID if INVALID in values.values() else values

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.of.schema()}


class AnyOf(ValueType):
    """The first shape that takes the node reads it, so no two may be of one kind."""

    def __init__(self, *shapes: ValueType, expected: str = "") -> None:
        self.shapes = shapes
        self.expected = expected or " or ".join(shape.expected for shape in shapes)

    def accepts(self, node: Node) -> bool:
        return any(shape.accepts(node) for shape in self.shapes)

    def read(self, node: Node, problems: Problems) -> Any:
        return next(shape for shape in self.shapes if shape.accepts(node)).read(node, problems)

    def canonical(self, node: Node) -> Node:
        return next((shape.canonical(node) for shape in self.shapes if shape.accepts(node)), node)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [shape.schema() for shape in self.shapes]}


def _outside(node: Node) -> str:
    """Text that came from the environment may stand for a number or a flag."""
    return str(node.value).strip().lower() if isinstance(node.value, Interpolated) else ""


TEXT = Text()
FLAG = Boolean()
ANY = Anything()
