"""Transforms: the options of `$path` and of slots that change a value.

Transforms are applied in this order, whatever their order in the file:

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
    """The result of `map` for a value that the map does not contain: a default may take its place."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def compile_transforms(options: dict[Any, Any], errors: RuleErrors) -> Transform | None:
    """Compile the transforms among options; None if there are none.

    The function returns MISSING for a value that is to be left out.
    """
    steps = [
        compile_one(options[name], errors.below(name))
        for name, compile_one in TRANSFORMS.items()
        if name in options
    ]
    if not steps:
        return None

    def transform(value: Any) -> Any:
        for step in steps:
            if value is MISSING or value is None or type(value) is _Unmapped:
                return value
            value = step(value)
        return value

    return transform


def unmapped_value(value: Any) -> Any:
    """Return the original of a value that `map` did not contain; MISSING for any other transformed value."""
    return value.value if type(value) is _Unmapped else MISSING


def convert(value: Any, kind: str) -> Any:
    """Return a JSON value as another type; MISSING if it cannot be converted."""
    try:
        match kind:
            case "int":
                return _int(value) if isinstance(value, str) else int(value)
            case "float":
                return float(value)
            case "string":
                return value if isinstance(value, str) else json.dumps(value).decode()
            case "object":
                return json.loads_text(value) if isinstance(value, str) else value
            case "bool":
                return value.strip().lower() not in _FALSE if isinstance(value, str) else bool(value)
            case _:
                return json.dumps(value).decode()
    except (ValueError, TypeError, OverflowError, RecursionError):
        return MISSING


def _int(text: str) -> int:
    try:
        return int(text)  # exact for integers of any length
    except ValueError:
        return int(float(text))


_FALSE = {"", "0", "false", "no", "off", "none", "null"}


def _take(which: Any, errors: RuleErrors) -> Transform:
    index = {"first": 0, "last": -1}.get(which, which) if isinstance(which, str) else which
    if not isinstance(index, int) or isinstance(index, bool):
        errors.add(f"`{which}` is not allowed here", expected="first, last or a number")
        return _unchanged

    def take(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return value[index] if -len(value) <= index < len(value) else MISSING

    return take


def _map(table: Any, errors: RuleErrors) -> Transform:
    if not isinstance(table, dict):
        errors.add("not a mapping", expected="a mapping of received values to their replacements")
        return _unchanged
    # true and 1 are two keys in YAML, but equal in Python.
    replacements = {(isinstance(key, bool), key): value for key, value in table.items()}

    def translate(value: Any) -> Any:
        if isinstance(value, list | dict):
            return _Unmapped(value)
        return replacements.get((isinstance(value, bool), value), _Unmapped(value))

    return translate


def _arithmetic(name: str, operation: Callable[[Any, Any], Any]) -> Callable[[Any, RuleErrors], Transform]:
    def compile_arithmetic(operand: Any, errors: RuleErrors) -> Transform:
        if not isinstance(operand, int | float) or isinstance(operand, bool):
            errors.add(f"`{operand}` is not allowed here", expected=f"a number to {name}")
            return _unchanged

        def apply(value: Any) -> Any:
            if not isinstance(value, int | float) or isinstance(value, bool):
                return value
            try:
                return operation(value, operand)
            except OverflowError:  # an integer beyond the range of floats
                return MISSING

        return apply

    return compile_arithmetic


def _join(separator: Any, errors: RuleErrors) -> Transform:
    if not isinstance(separator, str):
        errors.add(f"`{separator}` is not allowed here", expected="the string to join with")
        return _unchanged
    return lambda value: (
        separator.join(convert(item, "string") for item in value) if isinstance(value, list) else value
    )


def _as(kind: Any, errors: RuleErrors) -> Transform:
    if kind not in _TYPES:
        errors.add(f"`{kind}` is not allowed here", known=_TYPES, word=str(kind))
        return _unchanged
    return lambda value: convert(value, kind)


def _unchanged(value: Any) -> Any:
    return value


_TYPES = ("int", "float", "string", "bool", "json", "object")

TRANSFORMS: dict[str, Callable[[Any, RuleErrors], Transform]] = {
    "take": _take,
    "map": _map,
    "scale": _arithmetic("multiply by", lambda value, operand: value * operand),
    "offset": _arithmetic("add", lambda value, operand: value + operand),
    "min": _arithmetic("limit to", max),
    "max": _arithmetic("limit to", min),
    "above": _arithmetic("compare with", lambda value, operand: value if value > operand else MISSING),
    "below": _arithmetic("compare with", lambda value, operand: value if value < operand else MISSING),
    "join": _join,
    "as": _as,
}
