"""Paths with extensions of jsonpath-ng: functions in backticks, `=~`, arithmetic, `&` and `|` in filters."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext.filter import Expression
from jsonpath_ng.ext.parser import parse as _parse
from jsonpath_ng.ext.string import DefintionInvalid, Sub
from jsonpath_ng.jsonpath import DatumInContext, Fields, Index, JSONPath

from bridge.core.deltas import MISSING
from bridge.core.regex import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["compile_extended"]

# Classes are compared by name: jsonpath-ng 1.16 deprecates two of them, older versions lack one.
_MATCH_SEVERAL = {"Descendants", "Filter", "Slice", "Union", "Where", "WhereNot", "Wildcard"}
_LEAD_DOWN = {
    "Child", "Descendants", "Expression", "Fields", "Filter", "Index", "Root", "Slice", "This", "Wildcard",
}  # fmt: skip
# jsonpath-ng wraps only some errors of a path in JSONPathError; it was observed to raise the others too.
_PARSE_ERRORS = (
    JSONPathError, DefintionInvalid, ValueError, TypeError, AttributeError, LookupError, OverflowError,
    RecursionError, re.error,
)  # fmt: skip


def compile_extended(path: str, text: str) -> tuple[Callable[[Any], Any], bool, bool]:
    """Return a getter, whether it returns a list of matches, and whether it reads below its first step only.

    `text` is the path as written in the file. Raises ValueError if it is invalid.
    """
    tree = _parse_extended(path, text)
    many = any(_matches_several(node) for node in _nodes(tree))
    return _matcher(tree, many), many, _leads_down(tree)


def _parse_extended(path: str, text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = _parse(path)
        for node in _nodes(tree):
            _use_linear_pattern(node)
            if type(node).__name__.lstrip("_") == "Intersect":  # jsonpath-ng parses `&` without evaluating it
                raise ValueError("`&` is not supported")
        return tree
    except _PARSE_ERRORS as error:
        raise ValueError(f"`{text}` is not a valid path: {' '.join(str(error).split())}") from None


def _use_linear_pattern(node: Any) -> None:
    """Replace the regular expression of a node, one of Python's, by one of RE2. Raises ValueError."""
    if isinstance(node, Expression) and node.op == "=~":
        node.value = Pattern(node.value)
        node.__class__ = _MatchExpression
    elif isinstance(node, Sub):
        node.regex = _Substitution(node.expr)  # type: ignore[assignment]


class _MatchExpression(Expression):
    """A filter by `=~`, whose value is a pattern."""

    def find(self, datum: Any) -> list[Any]:
        found = self.target.find(DatumInContext.wrap(datum))
        return [match for match in found if isinstance(match.value, str) and self.value.is_in(match.value)]


_MatchExpression.__name__ = "Expression"  # see `_LEAD_DOWN`


class _Substitution(Pattern):
    """The pattern of `sub`, with the method that jsonpath-ng calls."""

    __slots__ = ()

    def sub(self, replacement: str, text: str) -> str:
        return self.replace(replacement, text)


def _nodes(tree: Any) -> Iterator[Any]:
    """Yield every node of a parsed path, those of its filters too."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        for value in vars(node).values():
            children = value if isinstance(value, list) else [value]
            pending += [child for child in children if isinstance(child, JSONPath)]


def _leads_down(tree: Any) -> bool:
    """Return whether a path reads only below its first step: no second root, no parent."""
    kinds = Counter(type(node).__name__ for node in _nodes(tree))
    return kinds.keys() <= _LEAD_DOWN and kinds["Root"] == 1


def _matches_several(node: Any) -> bool:
    match node:
        case Fields():
            return len(node.fields) != 1 or node.fields[0] == "*"
        case Index():
            return len(node.indices) != 1
        case _:
            return type(node).__name__.lstrip("_") in _MATCH_SEVERAL


def _matcher(tree: Any, many: bool) -> Callable[[Any], Any]:  # noqa: FBT001
    def find(value: Any) -> Any:
        if value is MISSING:
            return MISSING
        try:
            matches = [match.value for match in tree.find(value)]
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError):
            return MISSING  # a filter or a function was applied to a value of an unexpected type
        if not matches:
            return MISSING
        return matches if many else matches[0]

    return find
