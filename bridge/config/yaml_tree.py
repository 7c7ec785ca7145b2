"""YAML as a tree that knows where everything stands.

    text ─▶ compose (PyYAML) ─▶ Node(value, place, path)

Scalars are YAML 1.2's (core schema): `no`, `on` and `12:30` stay strings. Anchors, aliases and merge keys
work; a duplicate key, a key that is no scalar and an alias inside itself are faults.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from bridge.config.problems import Location, SourceFile
from bridge.core.strings import key_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config.problems import Problems
    from bridge.config.secrets import Secrecy

__all__ = ["Node", "Scalar", "parse"]

Scalar = str | int | float | bool | None

_MAX_DEPTH = 100  # what walks the tree does so by recursion
_MAX_NODES = 100_000  # an alias of aliases must not grow without bound


@dataclass(slots=True)
class Node:
    """A value of the file: a scalar, a list of nodes, or a mapping of scalars to nodes.

    `place` is where the value stands, `key_place` where its key does; `path` is the way to it.
    """

    value: Any
    location: Location
    path: str
    key_location: Location | None = None
    secret: Secrecy = False

    @property
    def kind(self) -> str:
        """What it is, for a person."""
        match self.value:
            case dict():
                return "a mapping" if self.value else "an empty mapping"
            case list():
                return "a list" if self.value else "an empty list"
            case None:
                return "nothing"
            case "":
                return "an empty string"
            case bool():
                return f"`{str(self.value).lower()}`"
            case str():
                return f"`{_short(self.value)}`"
            case _:
                return f"the number {self.value}"

    def plain(self) -> Any:
        """The value alone, as plain Python data."""
        match self.value:
            case dict():
                return {key: node.plain() for key, node in self.value.items()}
            case list():
                return [node.plain() for node in self.value]
            case _:
                return self.value

    def find(self, steps: tuple[str | int, ...]) -> Node:
        """The node that lies so many steps below, or the last one on the way there."""
        node = self
        for step in steps:
            below: Any = node.value
            if type(below) not in (dict, list):
                return node
            try:
                node = below[step]
            except (KeyError, IndexError, TypeError):
                return node
        return node

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        below = self.value.values() if isinstance(self.value, dict) else self.value
        if isinstance(below, str) or not hasattr(below, "__iter__"):
            return
        for node in below:
            yield from node.walk()

    def mark_secret(self, secret: Secrecy) -> None:
        """Mark this node and all below it as secret or not; see `bridge.config.secrets`."""
        for node in self.walk():
            node.secret = secret


def parse(text: str, name: str, problems: Problems) -> Node | None:
    """Read a file's text; what is wrong with it goes to `problems`. None: there is no tree to speak of."""
    source = SourceFile(name, tuple(text.splitlines()))
    top = Location(source, 1, 1)
    try:
        tree = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Location(source, mark.line + 1, mark.column + 1) if mark else top
        problems.add(
            place, "", f"not YAML: {error.problem or error.context}", expected=_advice(source, place)
        )
        return None
    except yaml.reader.ReaderError as error:
        place = _place_at(source, text, error.position)
        problems.add(place, "", f"not YAML: the character {text[error.position]!r} is not allowed in it")
        return None
    except RecursionError:
        problems.add(top, "", "not YAML for people: nested too deeply")
        return None
    if tree is None:
        problems.add(top, "", "the file is empty", expected="a mapping with `routes`")
        return None
    return _Converter(source, problems).node(tree, "", None)


class _Converter:
    """Turns PyYAML's nodes into ours."""

    def __init__(self, source: SourceFile, problems: Problems) -> None:
        self._source = source
        self._problems = problems
        self._open: set[int] = set()
        self._count = 0

    def node(self, tree: yaml.Node, path: str, key: yaml.Node | None) -> Node:
        place = self._place(tree)
        node = Node(None, place, path, self._place(key) if key else None)
        self._count += 1
        if id(tree) in self._open or self._count > _MAX_NODES:
            if self._count <= _MAX_NODES + 1:  # said once
                self._problems.add(place, path, "an alias inside itself, or too many values in the file")
            return node
        if len(self._open) > _MAX_DEPTH:
            self._problems.add(place, path, f"more than {_MAX_DEPTH} levels, one in the other")
            self._problems.suppress(place)
            return node
        self._open.add(id(tree))
        match tree:
            case yaml.ScalarNode():
                node.value = self._scalar(tree, path)
            case yaml.SequenceNode():
                node.value = [self.node(item, f"{path}[{n}]", None) for n, item in enumerate(tree.value)]
            case yaml.MappingNode():
                node.value = self._mapping(tree, path)
        if tree.tag not in _TAGS:
            self._problems.add(place, path, f"unknown tag {tree.tag}", expected="plain YAML without tags")
            self._problems.suppress(place)
        self._open.discard(id(tree))
        return node

    def _scalar(self, tree: yaml.ScalarNode, path: str) -> Scalar:
        try:
            value: Scalar = _SCALARS.get(tree.tag, str)(tree.value)
        except ValueError:  # a tag that does not fit, or an integer beyond Python's patience
            self._problems.add(self._place(tree), path, f"`{_short(tree.value)}` cannot be read as a number")
            self._problems.suppress(self._place(tree))
            return None
        return value

    def _mapping(self, tree: yaml.MappingNode, path: str) -> dict[Scalar, Node]:
        merged: dict[Scalar, Node] = {}
        own: dict[Scalar, Node] = {}
        merges = 0
        broken = False
        for key, value in tree.value:
            if key.tag == _TAG + "merge":
                merges += 1
                if merges > 1:
                    self._problems.add(
                        self._place(key), path, "the key `<<` is there twice", expected="<<: [*one, *two]"
                    )
                self._merge(merged, value, path)
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._problems.add(
                    self._place(key),
                    path,
                    "a key must be a scalar",
                    expected=_advice(self._source, self._place(key)),
                )
                broken = True
                continue
            name = self._scalar(key, path)
            node = self.node(value, join(path, name), key)
            if name in own:  # as are 1 and 1.0, and 1 and true: equal here, whatever YAML says
                self._problems.add(self._place(key), node.path, f"the key `{key.value}` is there twice")
            own[name] = node
        if broken:
            self._problems.suppress(self._place(tree))
        return {**merged, **own}

    def _merge(self, merged: dict[Scalar, Node], value: yaml.Node, path: str) -> None:
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for source in sources:
            node = self.node(source, path, None)
            if isinstance(node.value, dict):
                # The first mapping named wins, as YAML's merge type says.
                merged.update({key: below for key, below in node.value.items() if key not in merged})
            else:
                self._problems.add(node.location, path, f"`<<` merges mappings, not {node.kind}")

    def _place(self, tree: yaml.Node) -> Location:
        return Location(self._source, tree.start_mark.line + 1, tree.start_mark.column + 1)


def join(path: str, key: Scalar) -> str:
    """The path of a member: names plain, anything else in brackets."""
    text = key_text(key)
    if not re.fullmatch(r"[\w$-]+", text):
        return f"{path}[{text!r}]"
    return f"{path}.{text}" if path else text


def _place_at(source: SourceFile, text: str, position: int) -> Location:
    lines = text[:position].split("\n")
    return Location(source, len(lines), len(lines[-1]) + 1)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "…"


def _advice(source: SourceFile, place: Location) -> str:
    """What is most often behind a broken line."""
    line = source.lines[place.line - 1] if place.line <= len(source.lines) else ""
    if "\t" in line[: place.column]:
        return "spaces for indentation, YAML takes no tabs"
    if any(mark in line for mark in ("{{", "{%", "${", "$.", "$[")):
        return 'quotes around "{{ … }}", "${…}" and "$.…" that begin a value or stand inside {…} or […]'
    return ""


class _Loader(yaml.SafeLoader):
    """PyYAML with the scalars of YAML 1.2's core schema (yaml.org/spec/1.2.2, 10.3.2)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_TAG = "tag:yaml.org,2002:"

for _tag, _pattern, _first in [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
]:
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(rf"(?:{_pattern})\Z"), _first)


def _int(text: str) -> int:
    return (
        int(text.replace("0o", ""), 8)
        if text.startswith("0o")
        else int(text, 16 if text.startswith("0x") else 10)
    )


def _float(text: str) -> float:
    named = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
    found = named.get(text.lower())
    return float(text) if found is None else found


_SCALARS: dict[str, Any] = {
    _TAG + "str": str,
    _TAG + "null": lambda _: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": _int,
    _TAG + "float": _float,
}
_TAGS = {*_SCALARS, _TAG + "seq", _TAG + "map"}
