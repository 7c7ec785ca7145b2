"""Paths that are more than names and indexes, by jsonpath-ng: wildcards, slices, filters, `..`, functions."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext.filter import Expression
from jsonpath_ng.ext.parser import parse as _parse
from jsonpath_ng.ext.string import DefintionInvalid
from jsonpath_ng.jsonpath import Fields, Index, JSONPath

from bridge.core.deltas import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["compile_extended"]

# By name: jsonpath-ng 1.16 deprecates two of them, older ones lack one.
_MANY = {"Descendants", "Filter", "Slice", "Union", "Where", "WhereNot", "Wildcard"}
_DOWN = {
    "Root",
    "Child",
    "Fields",
    "Index",
    "Slice",
    "Wildcard",
    "Descendants",
    "Filter",
    "Expression",
    "This",
}
# jsonpath-ng has no error of its own for all that can be wrong; these are what it was seen to raise.
_FOREIGN = (
    JSONPathError, DefintionInvalid, ValueError, TypeError, AttributeError, LookupError, OverflowError,
    RecursionError, re.error,
)  # fmt: skip


def compile_extended(path: str, text: str) -> tuple[Callable[[Any], Any], bool, bool]:
    """A getter, whether it gives a list of matches, and whether it reads nothing but what lies downwards.

    `text` is the path as the file has it. Raises ValueError that says what is wrong with it.
    """
    tree = _parse_extended(path, text)
    many = _can_match_more(tree)
    return _matcher(tree, many), many, _only_down(tree)


def _parse_extended(path: str, text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = _parse(path)
        for node in _nodes(tree):
            if isinstance(node, Expression) and node.op == "=~":
                re.compile(node.value)
            if type(node).__name__.lstrip("_") == "Intersect":  # parsed by the library, and not done by it
                raise ValueError("`&` joins no paths here")
        return tree
    except _FOREIGN as error:
        raise ValueError(f"`{text}` is no path: {' '.join(str(error).split())}") from None


def _nodes(tree: Any) -> Iterator[Any]:
    """Every node of a parsed path, those of its filters too."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for below in vars(node).values():
            waiting += [
                one for one in (below if isinstance(below, list) else [below]) if isinstance(one, JSONPath)
            ]


def _can_match_more(tree: Any) -> bool:
    return any(_matches_more(node) for node in _nodes(tree))


def _only_down(tree: Any) -> bool:
    """Whether all that it reads lies below its first step: no second root, nothing that looks elsewhere."""
    kinds = Counter(type(node).__name__ for node in _nodes(tree))
    return kinds.keys() <= _DOWN and kinds["Root"] == 1


def _matches_more(node: Any) -> bool:
    match node:
        case Fields():
            return len(node.fields) != 1 or node.fields[0] == "*"
        case Index():
            return len(node.indices) != 1
        case _:
            return type(node).__name__.lstrip("_") in _MANY


def _matcher(tree: Any, many: bool) -> Callable[[Any], Any]:  # noqa: FBT001
    def find(value: Any) -> Any:
        if value is MISSING:
            return MISSING
        try:
            found = [match.value for match in tree.find(value)]
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError):
            return MISSING  # a filter or function held against a type it was not made for
        if not found:
            return MISSING
        return found if many else found[0]

    return find
