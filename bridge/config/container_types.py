"""Types of lists and mappings, and types made of other types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.config.value_types import INVALID, ValueType

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node

__all__ = ["AnyOf", "Deferred", "ListOf", "MapOf", "OneOrMany", "WithNode"]


@dataclass(frozen=True)
class ListOf(ValueType):
    """A list of values of one type, read as a tuple."""

    of: ValueType
    min_items: int = 0
    max_items: int | None = None

    @property
    def expected(self) -> str:  # type: ignore[override]
        if self.min_items == self.max_items:
            return f"a list of {self.min_items}, each {self.of.expected}"
        return f"a list{' of at least one' if self.min_items else ''}, each {self.of.expected}"

    def accepts(self, node: Node) -> bool:
        if not isinstance(node.value, list) or len(node.value) < self.min_items:
            return False
        return self.max_items is None or len(node.value) <= self.max_items

    def read(self, node: Node, problems: Problems) -> Any:
        values = [self.of.check(item, problems) for item in node.value]
        return INVALID if INVALID in values else tuple(values)

    def schema(self) -> dict[str, Any]:
        most = {} if self.max_items is None else {"maxItems": self.max_items}
        return {"type": "array", "items": self.of.schema(), "minItems": self.min_items, **most}


@dataclass(frozen=True)
class OneOrMany(ValueType):
    """One value, or a list of values, read as a tuple."""

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
    """A mapping of names to values of one type."""

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
    """A value of one of several types. The first type that accepts a node reads it."""

    def __init__(self, *types: ValueType, expected: str = "") -> None:
        self.types = types
        self.expected = expected or " or ".join(each.expected for each in types)

    def accepts(self, node: Node) -> bool:
        return any(each.accepts(node) for each in self.types)

    def read(self, node: Node, problems: Problems) -> Any:
        return next(each for each in self.types if each.accepts(node)).read(node, problems)

    def canonical(self, node: Node) -> Node:
        return next((each.canonical(node) for each in self.types if each.accepts(node)), node)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [each.schema() for each in self.types]}


class Deferred(ValueType):
    """A value that is checked later: its node is returned."""

    def __init__(self, of: ValueType) -> None:
        self.of = of
        self.expected = of.expected

    def accepts(self, node: Node) -> bool:
        return self.of.accepts(node)

    def read(self, node: Node, problems: Problems) -> Any:
        return node

    def schema(self) -> dict[str, Any]:
        return self.of.schema()


class WithNode(Deferred):
    """A value together with its node, for problems that are found later."""

    def read(self, node: Node, problems: Problems) -> Any:
        value = self.of.read(node, problems)
        return INVALID if value is INVALID else (node, value)
