"""Filters of RFC 9535: logical expressions, comparisons, and the functions of section 2.4.

?@.type == "text" && length(@.text) > 2   ─▶   function of (root, current value) to a bool
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.deltas import MISSING
from bridge.core.regex import Pattern
from bridge.expressions.path_query import Query, parse_segments

if TYPE_CHECKING:
    from bridge.expressions.path_tokens import PathText

__all__ = ["parse_filter"]

Test = Callable[[Any, Any], bool]
Read = Callable[[Any, Any], Any]

_COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
_MAX_CACHED = 256  # patterns out of documents


class _Operand(NamedTuple):
    """A side of a comparison, an argument of a function, or a test."""

    read: Read  # a value or MISSING; of a query of several values, the list of the values
    kind: str  # "value", "query" of at most one value, "queries" of several, or "logical"
    select: Read | None = None  # of a query, the list of its values
    has_root: bool = False


def parse_filter(source: PathText) -> tuple[Test, bool]:
    """Return the test after `?`, and whether it reads from `$`. Raises ValueError."""
    parser = _Parser(source)
    source.skip_blanks()
    test = parser.logical_or()
    return test, parser.has_root


class _Parser:
    """The parser of one filter.

    has_root: a query of the filter begins with `$`.
    """

    def __init__(self, source: PathText) -> None:
        self._source = source
        self.has_root = False

    def logical_or(self) -> Test:
        """Return the test of alternatives."""
        tests = self._joined("||", self._logical_and)
        return tests[0] if len(tests) == 1 else lambda root, value: any(each(root, value) for each in tests)

    def _logical_and(self) -> Test:
        tests = self._joined("&&", self._basic)
        return tests[0] if len(tests) == 1 else lambda root, value: all(each(root, value) for each in tests)

    def _joined(self, symbol: str, parse: Callable[[], Test]) -> list[Test]:
        tests = [parse()]
        while True:
            start = self._source.position
            self._source.skip_blanks()
            if not self._source.take(symbol):
                self._source.position = start
                return tests
            self._source.skip_blanks()
            tests.append(parse())

    def _basic(self) -> Test:
        """Return the test of a parenthesis, a negation, a comparison, a query or a function."""
        source = self._source
        negated = source.take("!")
        if negated:
            source.skip_blanks()
        if source.take("("):
            source.skip_blanks()
            test = self.logical_or()
            source.skip_blanks()
            source.require(")")
        else:
            test = self._test(negated=negated)
        return (lambda root, value: not test(root, value)) if negated else test

    def _test(self, *, negated: bool) -> Test:
        source = self._source
        begin = source.position
        left = self._operand()
        end = source.position
        source.skip_blanks()
        symbol = next((each for each in _COMPARISONS if source.take(each)), None)
        if symbol is not None and not negated:
            self._check_comparable(left, begin)
            source.skip_blanks()
            begin = source.position
            right = self._operand()
            self._check_comparable(right, begin)
            return _comparison(symbol, left.read, right.read)
        if source.is_at("="):
            raise source.error("`==`")
        source.position = end
        if left.kind == "logical":
            read = left.read
            return lambda root, value: bool(read(root, value))
        if left.select is None:
            source.position = begin
            raise source.error("a comparison: a value alone is not a test")
        select = left.select
        return lambda root, value: bool(select(root, value))

    def _check_comparable(self, operand: _Operand, begin: int) -> None:
        if operand.kind not in ("value", "query"):
            self._source.position = begin
            raise self._source.error("a single value: a path with wildcards cannot be compared")

    def _operand(self) -> _Operand:
        source = self._source
        is_literal, literal = source.take_literal()
        if is_literal:
            return _Operand(lambda root, value: literal, "value")
        if source.is_at("@") or source.is_at("$"):
            return self._query()
        begin = source.position
        name = source.take_function()
        if name is None:
            raise source.error('a path from @ or $, a string such as "text", a number or a function')
        if name not in _FUNCTIONS:
            source.position = begin
            raise source.error(f"one of the functions {', '.join(_FUNCTIONS)}")
        return self._call(name, begin)

    def _query(self) -> _Operand:
        from_root = self._source.take("$")
        if not from_root:
            self._source.require("@")
        self.has_root |= from_root
        query = Query(tuple(parse_segments(self._source)))

        def select(root: Any, value: Any) -> list[Any]:
            return query.select(root, root if from_root else value)

        def read(root: Any, value: Any) -> Any:
            return next(iter(select(root, value)), MISSING)

        return _Operand(read, "query" if query.steps is not None else "queries", select)

    def _call(self, name: str, begin: int) -> _Operand:
        """Return the call of a function, whose arguments must have the function's types."""
        source, function = self._source, _FUNCTIONS[name]
        arguments: list[_Operand] = []
        source.skip_blanks()
        while not source.take(")"):
            if arguments:
                source.require(",", "`,` or `)`")
                source.skip_blanks()
            arguments.append(self._operand())
            source.skip_blanks()
        kinds = ("query", "queries") if function.takes_queries else ("value", "query")
        if len(arguments) != function.arity or any(each.kind not in kinds for each in arguments):
            source.position = begin
            raise source.error(f"{name}({function.form})")
        reads = [each.select if function.takes_queries else each.read for each in arguments]
        compute = function.compute

        def read(root: Any, value: Any) -> Any:
            return compute(*(each(root, value) for each in reads if each is not None))

        return _Operand(read, function.kind)


def _comparison(symbol: str, left: Read, right: Read) -> Test:
    match symbol:
        case "==":
            return lambda root, value: _equal(left(root, value), right(root, value))
        case "!=":
            return lambda root, value: not _equal(left(root, value), right(root, value))
        case "<":
            return lambda root, value: _less(left(root, value), right(root, value))
        case ">":
            return lambda root, value: _less(right(root, value), left(root, value))
        case "<=":
            return lambda root, value: _at_most(left(root, value), right(root, value))
        case _:
            return lambda root, value: _at_most(right(root, value), left(root, value))


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[name], right[name]) for name in left)
    return bool(operator.eq(left, right))


def _less(left: Any, right: Any) -> bool:
    numbers = _is_number(left) and _is_number(right)
    return bool(left < right) if numbers or (isinstance(left, str) and isinstance(right, str)) else False


def _at_most(left: Any, right: Any) -> bool:
    return _less(left, right) or _equal(left, right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _length(value: Any) -> Any:
    return len(value) if isinstance(value, str | list | dict) else MISSING


def _value(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else MISSING


def _match(text: Any, pattern: Any) -> bool:
    compiled = _compiled(pattern, whole=True) if isinstance(pattern, str) else None
    return compiled is not None and isinstance(text, str) and compiled.is_in(text)


def _search(text: Any, pattern: Any) -> bool:
    compiled = _compiled(pattern, whole=False) if isinstance(pattern, str) else None
    return compiled is not None and isinstance(text, str) and compiled.is_in(text)


@lru_cache(_MAX_CACHED)
def _compiled(pattern: str, *, whole: bool) -> Pattern | None:
    """Return a pattern of RFC 9485 (I-Regexp), in which a dot matches no line break; None if invalid."""
    dots = re.sub(
        r"\\.|\[(?:\\.|[^\]\\])*\]|\.", lambda part: r"[^\n\r]" if part[0] == "." else part[0], pattern
    )
    try:
        return Pattern(rf"\A(?:{dots})\z" if whole else dots)
    except ValueError:
        return None


class _Function(NamedTuple):
    """A function of RFC 9535, section 2.4."""

    compute: Callable[..., Any]
    arity: int  # the number of arguments
    kind: str  # of the result
    form: str  # of the arguments, for messages
    takes_queries: bool = False  # arguments are lists of values


_FUNCTIONS = {
    "length": _Function(_length, 1, "value", "a value"),
    "count": _Function(len, 1, "value", "a path", takes_queries=True),
    "value": _Function(_value, 1, "value", "a path", takes_queries=True),
    "match": _Function(_match, 2, "logical", "a value, a pattern"),
    "search": _Function(_search, 2, "logical", "a value, a pattern"),
}
