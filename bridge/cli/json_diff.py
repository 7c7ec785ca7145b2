"""Differences between two JSON values, as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["differences"]

_MAX_SHOWN = 200  # characters of a value


def differences(expected: Any, actual: Any, path: str = "$", *, exact: bool = False) -> Iterator[str]:
    """Yield the differences; further members of the actual value are differences only if `exact`."""
    match expected, actual:
        case dict(), dict():
            for name in expected:
                if name not in actual:
                    yield f"{path}.{name} is missing"
                else:
                    yield from differences(expected[name], actual[name], f"{path}.{name}", exact=exact)
            if exact:
                yield from (f"{path}.{name} is unexpected" for name in actual if name not in expected)
        case list(), list() if len(expected) == len(actual):
            for index, pair in enumerate(zip(expected, actual, strict=True)):
                yield from differences(*pair, f"{path}[{index}]", exact=exact)
        case _:
            if isinstance(expected, bool) is not isinstance(actual, bool) or expected != actual:
                yield f"{path} is {_shortened(actual)}, expected {_shortened(expected)}"


def _shortened(value: Any) -> str:
    text = json.dumps(value).decode()
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
