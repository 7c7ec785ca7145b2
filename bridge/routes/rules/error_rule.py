"""One way in which an upstream reports failure, compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.expressions.extractors import Extractor, compile_slot
from bridge.expressions.paths import is_path

if TYPE_CHECKING:
    from bridge.expressions.conditions import Condition
    from bridge.expressions.scope import RuleErrors

__all__ = ["ErrorRule", "compile_status", "compile_word"]


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """One way in which an upstream reports failure."""

    when: Condition | None = None  # None: a status outside 2xx
    message: Extractor | None = None
    type: Extractor | None = None
    code: Extractor | None = None
    status: Extractor | None = None
    retry_after: Extractor | None = None


def compile_word(value: Any, errors: RuleErrors) -> Extractor:
    """Compile a slot, or a literal word."""
    if isinstance(value, str | int) and not isinstance(value, bool) and not is_path(value):
        return Extractor(lambda scope: value, ())
    return compile_slot(value, errors)


def compile_status(value: Any, errors: RuleErrors) -> Extractor:
    """Compile the HTTP status of an error: a number, or a slot."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if is_path(value) or isinstance(value, list | dict):
        options = value if isinstance(value, dict) else {}
        table = options.get("map")
        mapped = [("default", options["default"])] if "default" in options else []
        mapped += list(table.items()) if isinstance(table, dict) else []
        for key, status in mapped:
            if not _is_error_status(status):
                at = errors if key == "default" else errors.below("map")
                at.below(key).add(f"`{status}` is not allowed here", expected=_STATUS)
        return compile_slot(value, errors)
    if not _is_error_status(value):
        errors.add(f"`{value}` is not allowed here", expected=_STATUS)
    return Extractor(lambda scope: value, ())


def _is_error_status(value: Any) -> bool:
    return (isinstance(value, int) and 400 <= value <= 599) or value is None


_STATUS = "a status from 400 to 599, or a slot"
