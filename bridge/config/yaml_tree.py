"""YAML as a tree of nodes that hold their location.

    text ─▶ compose (PyYAML) ─▶ Node(value, location, path)

Scalars are YAML 1.2's (core schema): `no`, `on` and `12:30` stay strings. Anchors, aliases and merge keys are
supported. A duplicate key, a key other than a scalar and an alias that contains itself are problems.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from bridge.config.problems import Location, SourceFile
from bridge.config.yaml_remedies import yaml_remedy
from bridge.config.yaml_scalars import MERGE_TAG, TAGS, Scalar, ScalarLoader, scalar_value
from bridge.core.strings import key_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config.problems import Problems
    from bridge.config.secrets import Secrecy

__all__ = ["Node", "Scalar", "parse"]

_MAX_DEPTH = 100  # levels; the tree is walked by recursion
_MAX_NODES = 100_000  # aliases of aliases would grow exponentially
_MAX_SHOWN = 40  # characters of a value in a message


@dataclass(slots=True)
class Node:
    """A value of the file."""

    value: Any  # a scalar, a list of nodes, or a mapping of scalars to nodes
    location: Location
    path: str  # the keys and indexes that lead to the value: `routes[0].request.body`
    key_location: Location | None = None  # of the key, if the value is a member of a mapping
    secret: Secrecy = False  # set when the value is checked against its declaration

    @property
    def kind(self) -> str:
        """Return what the value is, for messages."""
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
                return f"`{_shortened(self.value)}`"
            case _:
                return f"the number {self.value}"

    def plain(self) -> Any:
        """Return the value as plain Python data, without nodes."""
        match self.value:
            case dict():
                return {key: node.plain() for key, node in self.value.items()}
            case list():
                return [node.plain() for node in self.value]
            case _:
                return self.value

    def find(self, steps: tuple[str | int, ...]) -> Node:
        """Return the node at the end of keys and indexes, or the last node that exists on the way."""
        node = self
        for step in steps:
            value: Any = node.value
            if type(value) not in (dict, list):
                return node
            try:
                node = value[step]
            except (KeyError, IndexError, TypeError):
                return node
        return node

    def get(self, *keys: str) -> Node | None:
        """Return the member at the end of keys; None if there is none."""
        node = self
        for key in keys:
            if not isinstance(node.value, dict) or key not in node.value:
                return None
            node = node.value[key]
        return node

    def walk(self) -> Iterator[Node]:
        """Yield this node and every node below."""
        yield self
        children: Any = ()
        if isinstance(self.value, dict):
            children = self.value.values()
        elif isinstance(self.value, list):
            children = self.value
        for node in children:
            yield from node.walk()

    def mark_secret(self, secret: Secrecy) -> None:
        """Mark this node and every node below as secret or not; see `bridge.config.secrets`."""
        for node in self.walk():
            node.secret = secret


def parse(text: str, name: str, problems: Problems) -> Node | None:
    """Parse the text of a file; None if the text has no tree, which is among the problems then."""
    source = SourceFile(name, tuple(text.splitlines()))
    top = Location(source, 1, 1)
    try:
        tree = yaml.compose(text, Loader=ScalarLoader)
    except yaml.MarkedYAMLError as error:
        of_quote = error.context == "while scanning a quoted scalar"  # which may end the file
        mark = error.context_mark if of_quote else error.problem_mark or error.context_mark
        location = Location(source, mark.line + 1, mark.column + 1) if mark else top
        message = f"invalid YAML: {error.problem or error.context}"
        problems.add(
            location, "", message, expected=yaml_remedy(location, error.problem or "", of_quote=of_quote)
        )
        return None
    except yaml.reader.ReaderError as error:
        location = _location_at(source, text, error.position)
        problems.add(location, "", f"invalid YAML: the character {text[error.position]!r} is not allowed")
        return None
    except RecursionError:
        problems.add(top, "", "invalid YAML: nested too deeply")
        return None
    if tree is None:
        problems.add(top, "", "the file is empty", expected="a mapping with `routes`")
        return None
    return _Converter(source, problems).node(tree, "", None)


class _Converter:
    """The conversion of PyYAML's nodes."""

    def __init__(self, source: SourceFile, problems: Problems) -> None:
        self._source = source
        self._problems = problems
        self._open: set[int] = set()  # ids of the PyYAML nodes on the way to the current one
        self._count = 0

    def node(self, tree: yaml.Node, path: str, key: yaml.Node | None) -> Node:
        """Return a node with all nodes below; `key` is the node of its key."""
        location = self._location(tree)
        node = Node(None, location, path, self._location(key) if key else None)
        self._count += 1
        if id(tree) in self._open or self._count > _MAX_NODES:
            if self._count <= _MAX_NODES + 1:  # reported once
                message = "an alias contains itself, or the file has too many values"
                self._problems.add(location, path, message)
            return node
        if len(self._open) > _MAX_DEPTH:
            self._problems.add(location, path, f"nested more than {_MAX_DEPTH} levels deep")
            self._problems.suppress(location)
            return node
        self._open.add(id(tree))
        match tree:
            case yaml.ScalarNode():
                node.value = self._scalar(tree, path)
            case yaml.SequenceNode():
                node.value = [self.node(item, f"{path}[{n}]", None) for n, item in enumerate(tree.value)]
            case yaml.MappingNode():
                node.value = self._mapping(tree, path)
        if tree.tag not in TAGS:
            self._problems.add(location, path, f"unknown tag {tree.tag}", expected="plain YAML without tags")
            self._problems.suppress(location)
        self._open.discard(id(tree))
        return node

    def _scalar(self, tree: yaml.ScalarNode, path: str) -> Scalar:
        try:
            return scalar_value(tree.tag, tree.value)
        except ValueError:  # a tag that does not fit, or an integer beyond Python's limit of digits
            message = f"`{_shortened(tree.value)}` is not a valid number"
            self._problems.add(self._location(tree), path, message)
            self._problems.suppress(self._location(tree))
            return None

    def _mapping(self, tree: yaml.MappingNode, path: str) -> dict[Scalar, Node]:
        self._check_keys(tree, path)
        merged: dict[Scalar, Node] = {}
        own: dict[Scalar, Node] = {}
        for key, value in tree.value:
            if key.tag == MERGE_TAG:
                self._merge(merged, value, path)
            elif isinstance(key, yaml.ScalarNode):
                name = self._scalar(key, path)
                node = self.node(value, join(path, name), key)
                if name in own:  # keys that are equal in Python: 1 and 1.0, and 1 and true
                    self._problems.add(self._location(key), node.path, f"duplicate key `{key.value}`")
                own[name] = node
        return {**merged, **own}

    def _check_keys(self, tree: yaml.MappingNode, path: str) -> None:
        """Add problems for keys that are no scalars, and for a second merge key."""
        merges = [key for key, _ in tree.value if key.tag == MERGE_TAG]
        for key in merges[1:]:
            self._problems.add(self._location(key), path, "duplicate key `<<`", expected="<<: [*one, *two]")
        invalid = [key for key, _ in tree.value if not isinstance(key, yaml.ScalarNode)]
        for key in invalid:
            location = self._location(key)
            self._problems.add(location, path, "a key must be a scalar", expected=yaml_remedy(location))
        if invalid:
            self._problems.suppress(self._location(tree))

    def _merge(self, merged: dict[Scalar, Node], value: yaml.Node, path: str) -> None:
        """Add the members of a `<<`; of several mappings the first has precedence (yaml.org/type/merge)."""
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for source in sources:
            node = self.node(source, path, None)
            if isinstance(node.value, dict):
                merged.update({key: member for key, member in node.value.items() if key not in merged})
            else:
                self._problems.add(node.location, path, f"`<<` merges mappings, not {node.kind}")

    def _location(self, tree: yaml.Node) -> Location:
        return Location(self._source, tree.start_mark.line + 1, tree.start_mark.column + 1)


def join(path: str, key: Scalar) -> str:
    """Return the path of a member: names are joined by dots, other keys are put in brackets."""
    text = key_text(key)
    if not re.fullmatch(r"[\w$-]+", text):
        return f"{path}[{text!r}]"
    return f"{path}.{text}" if path else text


def _location_at(source: SourceFile, text: str, position: int) -> Location:
    lines = text[:position].split("\n")
    return Location(source, len(lines), len(lines[-1]) + 1)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "…"
