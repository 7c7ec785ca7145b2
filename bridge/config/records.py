"""Mappings with known keys, declared once as classes.

@record
class Upstream:
    url: str = key(TEXT, "where requests go")

Record(Upstream).check(node, problems) -> Upstream(…) | INVALID
"""

from __future__ import annotations

from dataclasses import MISSING as _NO_DEFAULT
from dataclasses import Field, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from bridge.config.problems import Problems
from bridge.config.value_types import INVALID, ValueType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.config.secrets import Secrecy
    from bridge.config.yaml_tree import Node

__all__ = ["Record", "Shorthand", "option", "record", "spelling"]

T = TypeVar("T")


def option(
    shape: ValueType,
    doc: str,
    *,
    default: Any = _NO_DEFAULT,
    aliases: Sequence[str] = (),
    name: str = "",
    secret: Secrecy | None = None,
    example: str = "",
) -> Any:
    """Return a field of a record: its type, a phrase for the reference, and other accepted spellings.

    `secret` marks what is below the key, see `bridge.config.secrets`; None keeps the mark of the key above.
    `example` is a value in YAML for error messages.
    """
    metadata = {"shape": shape, "doc": doc, "aliases": tuple(aliases), "name": name}
    return field(default=default, metadata={**metadata, "secret": secret, "example": example})


@dataclass_transform(eq_default=False, frozen_default=True)
def record(of: type[T]) -> type[T]:
    """A dataclass of keys, which nobody compares and whose members are set once: mypy sees to that.

    Methods that do it at runtime would be written and compiled for each class, at every start: 30 ms.
    """
    return dataclass(eq=False, repr=False)(of)


class Record(ValueType):
    """A mapping with known keys, read into the dataclass `of`. Keys that begin with `x-` are ignored."""

    expected = "a mapping"

    def __init__(self, of: type[Any]) -> None:
        self.of = of
        self.fields: dict[str, Field[Any]] = {spelling(entry): entry for entry in fields(of)}
        self._by_spelling = {
            word: name for name, entry in self.fields.items() for word in (name, *entry.metadata["aliases"])
        }

    def accepts(self, node: Node) -> bool:
        return isinstance(node.value, dict)

    def read(self, node: Node, problems: Problems) -> Any:
        values = self._read_members(node, problems)
        return INVALID if INVALID in values.values() else self.of(**values)

    def read_valid(self, node: Node, **required: Any) -> tuple[Any, Node]:
        """Return the record of the valid members of a node, and a node with only these.

        `required` are values of required members, in case they are missing or invalid.
        """
        values = self._read_members(node, Problems())
        valid = {name: value for name, value in values.items() if value is not INVALID}
        names = {name for name, entry in self.fields.items() if entry.name in valid}
        members = {word: item for word, item in node.value.items() if self._by_spelling.get(word) in names}
        return self.of(**required | valid), replace(node, value=members)

    def _read_members(self, node: Node, problems: Problems) -> dict[str, Any]:
        """Return the values of all members; what is missing or wrong is INVALID."""
        values: dict[str, Any] = {}
        unknown = False
        for word, item in node.value.items():
            name = self._by_spelling.get(word)
            if name is None:
                unknown |= self._unknown(word, item, problems)
            elif self.fields[name].name in values:
                problems.add(item.key_location or item.location, item.path, f"`{word}` repeats `{name}`")
            else:
                entry = self.fields[name]
                if entry.metadata["secret"] is not None:
                    item.mark_secret(entry.metadata["secret"])
                values[entry.name] = entry.metadata["shape"].check(item, problems)
        for name, entry in self.fields.items():
            if entry.default is _NO_DEFAULT and entry.name not in values:
                problems.add(
                    node.location,
                    node.path,
                    f"`{name}` is missing",
                    expected=entry.metadata["shape"].expected,
                )
                values[entry.name] = INVALID
        if unknown:
            problems.suppress(node.location)  # what is missed here later may be what the key was meant for
        return values

    def canonical(self, node: Node) -> Node:
        if not isinstance(node.value, dict):
            return node
        members = {}
        for word, item in node.value.items():
            name = self._by_spelling.get(word, word)
            shape = self.fields[name].metadata["shape"] if name in self.fields else None
            below = shape.canonical(item) if shape is not None else item
            members[word if name in node.value else name] = below
        return replace(node, value=members)

    def _unknown(self, word: Any, item: Node, problems: Problems) -> bool:
        if str(word).startswith("x-"):
            return False
        place = item.key_location or item.location
        problems.add(place, item.path, "unknown key", known=self.fields, word=str(word))
        return True

    def schema(self) -> dict[str, Any]:
        properties = {
            word: entry.metadata["shape"].schema() | {"description": entry.metadata["doc"]}
            for name, entry in self.fields.items()
            for word in (name, *entry.metadata["aliases"])
        }
        required = [name for name, entry in self.fields.items() if entry.default is _NO_DEFAULT]
        return {
            "type": "object",
            "properties": properties,
            "patternProperties": {"^x-": {}},
            "additionalProperties": False,
        } | ({"required": required} if required else {})


class Shorthand(ValueType):
    """One member's value, short for a mapping that holds it and nothing else."""

    def __init__(self, record: Record, name: str, shape: ValueType, expected: str) -> None:
        self._record = record
        self._name = name
        self._shape = shape
        self.expected = expected

    def accepts(self, node: Node) -> bool:
        return self._record.accepts(node) or self._shape.accepts(node)

    def read(self, node: Node, problems: Problems) -> Any:
        if self._record.accepts(node):
            return self._record.read(node, problems)
        value = self._shape.read(node, problems)
        return INVALID if value is INVALID else self._record.of(**{self._name: value})

    def canonical(self, node: Node) -> Node:
        full = node if self._record.accepts(node) else replace(node, value={self._name: node})
        return self._record.canonical(full)

    def schema(self) -> dict[str, Any]:
        short = self._shape.schema()
        if isinstance(kinds := short.get("type"), list):
            short["type"] = [kind for kind in kinds if kind != "object"]  # a mapping is the record
        return {"anyOf": [short, self._record.schema()]}


def spelling(entry: Field[Any]) -> str:
    """How a field is written in the file; a Python word may be in the way of its name there."""
    return str(entry.metadata["name"] or entry.name)
