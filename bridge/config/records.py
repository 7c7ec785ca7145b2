"""Mappings with known keys, declared as classes.

@record
class Upstream:
    url: str = option(TEXT, "the URL of the model server")

Record(Upstream).check(node, problems) -> Upstream(…) | INVALID
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from bridge.config.problems import Problems
from bridge.config.value_types import INVALID, ValueType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.config.secrets import Secrecy
    from bridge.config.yaml_tree import Node

__all__ = ["ABSENT", "Option", "Record", "Shorthand", "option", "record", "records_within"]

T = TypeVar("T")

_REQUIRED = object()
ABSENT = "absent"  # the default of keys for which null or false is a value of its own
_MAX_PATHS = 2  # that are suggested for a key
_MAX_LEVELS = 2  # of records that are searched for a key


@dataclass(frozen=True)
class Option:
    """One key of a record, as declared."""

    type: ValueType
    doc: str  # a phrase for the reference and the JSON Schema
    aliases: tuple[str, ...]  # other accepted spellings of the key
    key: str  # the key in the file, if it cannot be the attribute's name; else ""
    secret: Secrecy | None  # the mark of the value, see `bridge.config.secrets`; None: that of the key above
    example: str  # a value in YAML for messages
    default: Any
    attribute: str = ""  # the attribute of the record's class

    @property
    def required(self) -> bool:
        """Return whether the key has no default."""
        return self.default is _REQUIRED


def option(
    type: ValueType,  # noqa: A002
    doc: str,
    *,
    default: Any = _REQUIRED,
    aliases: Sequence[str] = (),
    key: str = "",
    secret: Secrecy | None = None,
    example: str = "",
) -> Any:
    """Return the dataclass field of one key; for the arguments see `Option`."""
    declared = Option(type, doc, tuple(aliases), key, secret, example, default)
    return field(default=MISSING if default is _REQUIRED else default, metadata={"option": declared})


@dataclass_transform(eq_default=False, frozen_default=True)
def record(of: type[T]) -> type[T]:
    """Make a dataclass of a class of options. Only mypy enforces that its attributes are not assigned.

    `__eq__`, `__repr__` and `frozen` would be generated and compiled for each class at every start: 30 ms.
    """
    return dataclass(eq=False, repr=False)(of)


class Record(ValueType):
    """A mapping with known keys, read into the class `of`. Keys that begin with `x-` are ignored."""

    expected = "a mapping"

    def __init__(self, of: type[Any]) -> None:
        self.of = of
        self.options: dict[str, Option] = {}  # by key
        for entry in fields(of):
            declared: Option = entry.metadata["option"]
            self.options[declared.key or entry.name] = replace(declared, attribute=entry.name)
        self._keys = {
            spelling: key for key, option in self.options.items() for spelling in (key, *option.aliases)
        }

    def has_key(self, spelling: str) -> bool:
        """Return whether a key, or another spelling of one, is known."""
        return spelling in self._keys

    def accepts(self, node: Node) -> bool:
        return isinstance(node.value, dict)

    def read(self, node: Node, problems: Problems) -> Any:
        values = self._read_members(node, problems)
        return INVALID if INVALID in values.values() else self.of(**values)

    def read_valid(self, node: Node, **required: Any) -> tuple[Any, Node]:
        """Return the record of the valid members of a node, and a node with only these members.

        `required` are values of required keys, in case they are missing or invalid.
        """
        values = self._read_members(node, Problems())
        valid = {name: value for name, value in values.items() if value is not INVALID}
        keys = {key for key, option in self.options.items() if option.attribute in valid}
        members = {
            spelling: item for spelling, item in node.value.items() if self._keys.get(spelling) in keys
        }
        return self.of(**required | valid), replace(node, value=members)

    def _read_members(self, node: Node, problems: Problems) -> dict[str, Any]:
        """Return the values by attribute; missing and invalid members are INVALID."""
        values: dict[str, Any] = {}
        unknown = False
        item: Node
        for spelling, item in node.value.items():
            key = self._keys.get(spelling)
            if key is None:
                unknown |= self._is_unknown(spelling, item, problems)
                continue
            option = self.options[key]
            if option.attribute in values:
                location = item.key_location or item.location
                problems.add(location, item.path, f"`{spelling}` repeats `{key}`")
                continue
            if option.secret is not None:
                item.mark_secret(option.secret)
            values[option.attribute] = option.type.check(item, problems)
        for key, option in self.options.items():
            if option.required and option.attribute not in values:
                problems.add(node.location, node.path, f"`{key}` is missing", expected=option.type.expected)
                values[option.attribute] = INVALID
        if unknown:
            # An unknown key may be a misspelling of a key that is reported as missing later.
            problems.suppress(node.location)
        return values

    def _is_unknown(self, spelling: Any, item: Node, problems: Problems) -> bool:
        """Return whether a key is not ignored, and add a problem then."""
        if str(spelling).startswith("x-"):
            return False
        location = item.key_location or item.location
        inner = self._inner_paths(str(spelling))
        expected = f"{' or '.join(inner)}, not here" if inner else ""
        word = "" if inner else str(spelling)
        problems.add(location, item.path, "unknown key", expected=expected, known=self.options, word=word)
        return True

    def _inner_paths(self, spelling: str) -> list[str]:
        """Return the paths of a key in the records within this one, the shallowest alone."""
        level: list[tuple[str, Record]] = [("", self)]
        for _ in range(_MAX_LEVELS):
            level = [
                (f"{path}{key}.", inner)
                for path, record in level
                for key, option in record.options.items()
                for inner in records_within(option.type)
            ]
            if paths := [f"`{path}{spelling}`" for path, inner in level if inner.has_key(spelling)]:
                return list(dict.fromkeys(paths))[:_MAX_PATHS]
        return []

    def canonical(self, node: Node) -> Node:
        if not isinstance(node.value, dict):
            return node
        members = {}
        for spelling, item in node.value.items():
            key = self._keys.get(spelling, spelling)
            option = self.options.get(str(key))
            member = option.type.canonical(item) if option is not None else item
            members[spelling if key in node.value else key] = member
        return replace(node, value=members)

    def schema(self) -> dict[str, Any]:
        properties = {
            spelling: option.type.schema() | {"description": option.doc, **_default(option)}
            for key, option in self.options.items()
            for spelling in (key, *option.aliases)
        }
        required = [key for key, option in self.options.items() if option.required]
        return {
            "type": "object",
            "title": (self.of.__doc__ or "").partition("\n")[0].removesuffix("."),
            "properties": properties,
            "patternProperties": {"^x-": {}},
            "additionalProperties": False,
        } | ({"required": required} if required else {})


def records_within(value_type: ValueType) -> Iterator[Record]:
    """Yield the records that a value type is made of."""
    if isinstance(value_type, Record):
        yield value_type
        return
    for attribute in vars(value_type).values():
        for part in attribute if isinstance(attribute, tuple) else (attribute,):
            if isinstance(part, ValueType):
                yield from records_within(part)


def _default(option: Option) -> dict[str, Any]:
    """Return the default of a key for the JSON Schema, if the default can be written in a file."""
    value = list(option.default) if isinstance(option.default, tuple) else option.default
    if option.required or value == ABSENT or not isinstance(value, str | int | float | list) or value == []:
        return {}
    return {"default": value}


class Shorthand(ValueType):
    """A record, or the value of one of its keys in place of a mapping with this key only."""

    def __init__(self, record: Record, key: str, type: ValueType, expected: str) -> None:  # noqa: A002
        self._record = record
        self._key = key
        self._type = type
        self.expected = expected

    def accepts(self, node: Node) -> bool:
        return self._record.accepts(node) or self._type.accepts(node)

    def read(self, node: Node, problems: Problems) -> Any:
        if self._record.accepts(node):
            return self._record.read(node, problems)
        value = self._type.read(node, problems)
        return INVALID if value is INVALID else self._record.of(**{self._key: value})

    def canonical(self, node: Node) -> Node:
        full = node if self._record.accepts(node) else replace(node, value={self._key: node})
        return self._record.canonical(full)

    def schema(self) -> dict[str, Any]:
        short = self._type.schema()
        if "anyOf" in short:
            short["anyOf"] = [part for part in short["anyOf"] if part.get("type") != "object"]
        if isinstance(kinds := short.get("type"), list):
            short["type"] = [kind for kind in kinds if kind != "object"]  # a mapping is the record
        return {"anyOf": [short, self._record.schema()]}
