"""What can be done to a value between its path and its place: the options of `$path` and of slots.

Applied in this order, whatever the order in the file:

    take ─▶ map ─▶ scale ─▶ offset ─▶ min, max ─▶ above, below ─▶ join ─▶ as
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.expressions.scope import RuleErrors

    Transform = Callable[[Any], Any]

__all__ = ["TRANSFORMS", "compile_transforms", "convert", "unmapped_value"]


class _Unmapped:
    """What `map` gives for a value that it does not name, so that a default can take its place."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def compile_transforms(options: dict[Any, Any], faults: RuleErrors) -> Transform | None:
    """Compile the options that adjust a value; None where there are none. The rest is not looked at.

    The result gives MISSING for a value that is to be left out.
    """
    steps = [make(options[name], faults.below(name)) for name, make in TRANSFORMS.items() if name in options]
    if not steps:
        return None

    def adjust(value: Any) -> Any:
        for step in steps:
            if value is MISSING or value is None or type(value) is _Unmapped:
                return value
            value = step(value)
        return value

    return adjust


def unmapped_value(value: Any) -> Any:
    """The value that `map` did not name; MISSING for any other adjusted value."""
    return value.value if type(value) is _Unmapped else MISSING


def convert(value: Any, kind: str) -> Any:
    """One JSON value as another type; MISSING where it cannot be."""
    try:
        match kind:
            case "int":
                return _int(value) if isinstance(value, str) else int(value)
            case "float":
                return float(value)
            case "string":
                return value if isinstance(value, str) else json.dumps(value).decode()
            case "bool":
                return value.strip().lower() not in _FALSE if isinstance(value, str) else bool(value)
            case _:
                return json.dumps(value).decode()
    except (ValueError, TypeError, OverflowError, RecursionError):
        return MISSING


def _int(text: str) -> int:
    try:
        return int(text)  # exact, however long
    except ValueError:
        return int(float(text))


_FALSE = {"", "0", "false", "no", "off", "none", "null"}


def _take(which: Any, faults: RuleErrors) -> Transform:
    index = {"first": 0, "last": -1}.get(which, which) if isinstance(which, str) else which
    if not isinstance(index, int) or isinstance(index, bool):
        faults.add(f"`{which}` is not allowed here", expected="first, last or a number")
        return _same

    def take(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return value[index] if -len(value) <= index < len(value) else MISSING

    return take


def _map(table: Any, faults: RuleErrors) -> Transform:
    if not isinstance(table, dict):
        faults.add("no mapping", expected="a mapping of what comes to what it becomes")
        return _same
    # true and 1 are two keys here, though Python holds them equal.
    known = {(isinstance(key, bool), key): value for key, value in table.items()}

    def translate(value: Any) -> Any:
        if isinstance(value, list | dict):
            return _Unmapped(value)
        return known.get((isinstance(value, bool), value), _Unmapped(value))

    return translate


def _number(name: str, adjust: Callable[[Any, Any], Any]) -> Callable[[Any, RuleErrors], Transform]:
    def compile_number(by: Any, faults: RuleErrors) -> Transform:
        if not isinstance(by, int | float) or isinstance(by, bool):
            faults.add(f"`{by}` is not allowed here", expected=f"a number to {name} by")
            return _same

        def apply(value: Any) -> Any:
            if not isinstance(value, int | float) or isinstance(value, bool):
                return value
            try:
                return adjust(value, by)
            except OverflowError:  # an integer beyond any float
                return MISSING

        return apply

    return compile_number


def _join(glue: Any, faults: RuleErrors) -> Transform:
    if not isinstance(glue, str):
        faults.add(f"`{glue}` is not allowed here", expected="the string to join with")
        return _same
    return lambda value: (
        glue.join(convert(item, "string") for item in value) if isinstance(value, list) else value
    )


def _as(kind: Any, faults: RuleErrors) -> Transform:
    if kind not in _KINDS:
        faults.add(f"`{kind}` is not known here", known=_KINDS, word=str(kind))
        return _same
    return lambda value: convert(value, kind)


def _same(value: Any) -> Any:
    return value


_KINDS = ("int", "float", "string", "bool", "json")

TRANSFORMS: dict[str, Callable[[Any, RuleErrors], Transform]] = {
    "take": _take,
    "map": _map,
    "scale": _number("multiply", lambda value, by: value * by),
    "offset": _number("add", lambda value, by: value + by),
    "min": _number("limit", max),
    "max": _number("limit", min),
    "above": _number("compare", lambda value, by: value if value > by else MISSING),
    "below": _number("compare", lambda value, by: value if value < by else MISSING),
    "join": _join,
    "as": _as,
}
