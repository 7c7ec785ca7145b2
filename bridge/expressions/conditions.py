"""`when`: a mapping of key to match, all of which must hold, or a list of such mappings, any of which.

    {$.code: {not: 0}}      {event: [message, delta]}      [{$.a: 1, $.b: {exists: true}}, {$.c: {above: 3}}]

A key is a path, or the name of an SSE field. On what is missing only `{exists: false}` holds. A path that
can match more holds when any of its matches does.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.expressions.paths import compile_path, is_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.expressions.scope import RuleErrors, Scope

    Condition = Callable[[Scope], bool]
    Match = Callable[[Any], bool]

__all__ = ["compile_match", "compile_when", "values_equal"]


def compile_when(value: Any, faults: RuleErrors, *, fields: bool = True) -> Condition:
    """Compile a `when`. `fields`: whether SSE fields can be read where it is used."""
    if isinstance(value, list):
        if not value:
            faults.add("an empty list never holds", expected="a mapping of path to match")
        return _any([compile_when(item, faults.below(n), fields=fields) for n, item in enumerate(value)])
    if not isinstance(value, dict) or not value:
        faults.add(
            "no condition",
            expected="a mapping of path to match, such as {$.code: {not: 0}}, or a list of such",
        )
        return _never
    tests = [_compile_test(key, match, faults.below(key), fields) for key, match in value.items()]
    return tests[0] if len(tests) == 1 else _all(tests)


def compile_match(value: Any, faults: RuleErrors) -> Match:
    """Compile what one value is held against: a value, a list of values, or a mapping of tests."""
    if isinstance(value, list):
        return lambda found: any(values_equal(found, item) for item in value)
    if isinstance(value, str):
        return lambda found: bool(found == value)
    if not isinstance(value, dict):
        return lambda found: values_equal(found, value)
    faults.unknown(value, _TESTS)
    tests = [_TESTS[name](wanted, faults.below(name)) for name, wanted in value.items() if name in _TESTS]
    if not value:
        faults.add("an empty match", expected=f"a value, a list of values, or some of {', '.join(_TESTS)}")
    return tests[0] if len(tests) == 1 else lambda found: all(test(found) for test in tests)


def values_equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _compile_test(key: Any, match: Any, faults: RuleErrors, fields: bool) -> Condition:  # noqa: FBT001
    source, many = _compile_key(key, faults, fields)
    holds = compile_match(match, faults)
    if not many:
        return lambda scope: holds(source(scope))

    def test(scope: Scope) -> bool:
        found = source(scope)
        return holds(found) if found is MISSING else any(holds(item) for item in found)

    return test


def _compile_key(key: Any, faults: RuleErrors, fields: bool) -> tuple[Callable[[Scope], Any], bool]:  # noqa: FBT001
    if is_path(key):
        try:
            path = compile_path(key)
        except ValueError as error:
            faults.add_key(str(error))
            return _nothing, False
        return path.find, path.many
    if fields and isinstance(key, str) and re.fullmatch(r"[\w:.-]+", key):
        return lambda scope: scope.fields.get(key, MISSING), False
    faults.add_key(
        f"`{key}` is no path" + (" and no name of an SSE field" if fields else ""),
        expected="a path, such as $.code" + (", or an SSE field, such as event" if fields else ""),
    )
    return _nothing, False


def _nothing(scope: Scope) -> Any:
    return MISSING


def _never(scope: Scope) -> bool:
    return False


def _all(tests: list[Condition]) -> Condition:
    return lambda scope: all(test(scope) for test in tests)


def _any(tests: list[Condition]) -> Condition:
    return lambda scope: any(test(scope) for test in tests)


def _not(wanted: Any, faults: RuleErrors) -> Match:
    match = compile_match(wanted, faults)
    if isinstance(wanted, str):
        return lambda found: found is not MISSING and bool(found != wanted)
    return lambda found: found is not MISSING and not match(found)


def _exists(wanted: Any, faults: RuleErrors) -> Match:
    if not isinstance(wanted, bool):
        faults.add(f"`{wanted}` is not allowed here", expected="true or false")
    return lambda found: (found is not MISSING and found is not None) is wanted


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any, RuleErrors], Match]:
    def compile_limit(wanted: Any, faults: RuleErrors) -> Match:
        if not isinstance(wanted, int | float) or isinstance(wanted, bool):
            faults.add(f"`{wanted}` is not allowed here", expected="a number")
            return lambda found: False
        return lambda found: (
            isinstance(found, int | float) and not isinstance(found, bool) and compare(found, wanted)
        )

    return compile_limit


def _matches(wanted: Any, faults: RuleErrors) -> Match:
    try:
        pattern = re.compile(wanted)
    except (re.error, TypeError, OverflowError, RecursionError) as error:
        faults.add(f"no regular expression: {error}")
        return lambda found: False
    return lambda found: isinstance(found, str) and pattern.search(found) is not None


_TESTS: dict[str, Callable[[Any, RuleErrors], Match]] = {
    "not": _not,
    "exists": _exists,
    "above": _compared(operator.gt),
    "below": _compared(operator.lt),
    "matches": _matches,
}
