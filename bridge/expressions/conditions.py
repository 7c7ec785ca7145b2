"""Conditions of `when`, `only`, `skip`, `done` and `until`, compiled to closures.

    {$.code: {not: 0}}                                        the one test must hold
    {event: [message, delta], $.code: 0}                      every test must hold
    [{$.a: 1, $.b: {exists: true}}, {$.c: {above: 3}}]        the tests of any mapping must hold

A key is a path, or the name of an SSE field. If a value is missing, only `{exists: false}` holds. A test of a
path with several matches holds if any match passes.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.core.regex import Pattern
from bridge.core.strings import flow_text
from bridge.expressions.paths import Path, compile_path, is_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.expressions.scope import RuleErrors, Scope

    Holds = Callable[[Scope], bool]
    Match = Callable[[Any], bool]

__all__ = [
    "OPERATORS",
    "Condition",
    "compile_match",
    "compile_request_condition",
    "compile_when",
    "values_equal",
]


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition."""

    holds: Callable[[Scope], bool]
    paths: tuple[Path, ...]  # every path that the condition reads
    source: Any = None  # the condition as written

    @property
    def reads(self) -> frozenset[str | None]:
        """Return the members of the document that the condition reads; None: possibly every member."""
        return frozenset(path.head for path in self.paths if not path.on_item)

    def __str__(self) -> str:
        return flow_text(self.source)


def compile_when(value: Any, errors: RuleErrors) -> Condition:
    """Compile a condition on an upstream response or frame, in which a key may name an SSE field."""
    keys = _Keys()
    return Condition(_compile(value, errors, keys), tuple(keys.paths), value)


def compile_request_condition(value: Any, errors: RuleErrors, *, in_list: bool = False) -> Condition:
    """Compile a condition on the request document; `in_list` is whether there is an `$item`."""
    keys = _Keys(of_request=True, in_list=in_list)
    return Condition(_compile(value, errors, keys), tuple(keys.paths), value)


def compile_match(value: Any, errors: RuleErrors) -> Match:
    """Compile the right side of a test: a value, a list of values, or a mapping of operators."""
    if isinstance(value, list):
        return lambda found: any(values_equal(found, item) for item in value)
    if isinstance(value, str):
        return lambda found: bool(found == value)
    if not isinstance(value, dict):
        return lambda found: values_equal(found, value)
    errors.check_keys(value, OPERATORS)
    tests = [
        OPERATORS[name](operand, errors.below(name)) for name, operand in value.items() if name in OPERATORS
    ]
    if not value:
        errors.add(
            "an empty mapping is not a valid test",
            expected=f"a value, a list of values, or some of {', '.join(OPERATORS)}",
        )
    return tests[0] if len(tests) == 1 else lambda found: all(test(found) for test in tests)


def values_equal(left: Any, right: Any) -> bool:
    """Return whether two JSON values are equal: 1 equals 1.0, true does not equal 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


class _Keys:
    """The keys of a condition: their kind, and the paths among them."""

    __slots__ = ("in_list", "of_request", "paths")

    def __init__(self, *, of_request: bool = False, in_list: bool = True) -> None:
        self.of_request = of_request  # a key is a path into the request document, not an SSE field
        self.in_list = in_list
        self.paths: list[Path] = []

    def add(self, path: Path, errors: RuleErrors) -> None:
        """Add a path, and an error if the path reads an element outside a list."""
        self.paths.append(path)
        if path.on_item and not self.in_list:
            errors.add_key("`$item` outside a list", expected="`$item` inside `$as`, or a path from `$`")
        elif self.of_request and path.head is not None and not path.on_item:
            errors.add_read(path.head, of_key=True)


def _compile(value: Any, errors: RuleErrors, keys: _Keys) -> Holds:
    if isinstance(value, list):
        if not value:
            errors.add("an empty list is not a valid condition", expected="a mapping of path to match")
        return _any([_compile(item, errors.below(n), keys) for n, item in enumerate(value)])
    if not isinstance(value, dict) or not value:
        errors.add(
            "not a valid condition",
            expected="a mapping of path to match, such as {$.code: {not: 0}}, or a list of such",
        )
        return _never
    tests = [_compile_test(key, match, errors.below(key), keys) for key, match in value.items()]
    return tests[0] if len(tests) == 1 else _all(tests)


def _compile_test(key: Any, match: Any, errors: RuleErrors, keys: _Keys) -> Holds:
    source, many = _compile_key(key, errors, keys)
    matches = compile_match(match, errors)
    if not many:
        return lambda scope: matches(source(scope))

    def test(scope: Scope) -> bool:
        found = source(scope)
        return matches(found) if found is MISSING else any(matches(item) for item in found)

    return test


def _compile_key(key: Any, errors: RuleErrors, keys: _Keys) -> tuple[Callable[[Scope], Any], bool]:
    """Return a function that reads a key's value, and whether the value is a list of matches."""
    if is_path(key):
        try:
            path = compile_path(key)
        except ValueError as error:
            errors.add_key(str(error))
            return _missing, False
        keys.add(path, errors)
        return path.find, path.many
    fields = not keys.of_request
    if fields and isinstance(key, str) and re.fullmatch(r"[\w:.-]+", key):
        return lambda scope: scope.fields.get(key, MISSING), False
    errors.add_key(
        f"`{key}` is neither a path nor an SSE field" if fields else f"`{key}` is not a path",
        expected="a path, such as $.code" + (", or an SSE field, such as event" if fields else ""),
    )
    return _missing, False


def _missing(scope: Scope) -> Any:
    return MISSING


def _never(scope: Scope) -> bool:
    return False


def _all(tests: list[Holds]) -> Holds:
    return lambda scope: all(test(scope) for test in tests)


def _any(tests: list[Holds]) -> Holds:
    return lambda scope: any(test(scope) for test in tests)


def _not(operand: Any, errors: RuleErrors) -> Match:
    match = compile_match(operand, errors)
    if isinstance(operand, str):
        return lambda found: found is not MISSING and bool(found != operand)
    return lambda found: found is not MISSING and not match(found)


def _exists(operand: Any, errors: RuleErrors) -> Match:
    if not isinstance(operand, bool):
        errors.add(f"`{operand}` is not allowed here", expected="true or false")
    return lambda found: (found is not MISSING and found is not None) is operand


def _comparison(compare: Callable[[Any, Any], bool]) -> Callable[[Any, RuleErrors], Match]:
    def compile_comparison(operand: Any, errors: RuleErrors) -> Match:
        if not isinstance(operand, int | float) or isinstance(operand, bool):
            errors.add(f"`{operand}` is not allowed here", expected="a number")
            return lambda found: False
        return lambda found: (
            isinstance(found, int | float) and not isinstance(found, bool) and compare(found, operand)
        )

    return compile_comparison


def _matches(operand: Any, errors: RuleErrors) -> Match:
    try:
        pattern = Pattern(operand)
    except ValueError as error:
        errors.add(str(error), expected="RE2's syntax")
        return lambda found: False
    return lambda found: isinstance(found, str) and pattern.is_in(found)


OPERATORS: dict[str, Callable[[Any, RuleErrors], Match]] = {
    "not": _not,
    "exists": _exists,
    "above": _comparison(operator.gt),
    "below": _comparison(operator.lt),
    "matches": _matches,
}
