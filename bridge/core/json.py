"""JSON from and to bytes. No other module imports orjson.

orjson rejects byte order marks, NaN, halves of surrogate pairs and invalid UTF-8, all of which model servers
send. The standard library reads what orjson rejects.
"""

from __future__ import annotations

import json as _standard
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DepthError", "JSONObject", "dumps", "loads", "loads_strictly", "objects", "pretty"]

JSONObject = dict[str, Any]


class DepthError(ValueError):
    """JSON that is nested deeper than parsers read."""

    def __init__(self) -> None:
        super().__init__("JSON nested too deeply")


loads_strictly = orjson.loads
"""Parse one JSON value by orjson alone. Raises ValueError."""


def loads(data: bytes | bytearray | str) -> Any:
    """Parse one JSON value. Raises ValueError if it is invalid."""
    try:
        return orjson.loads(data)
    except ValueError as error:
        if str(error).startswith("depth limit"):
            # The depth that the standard library can parse depends on the version of Python.
            raise DepthError from None
        return _loads_leniently(data)


def dumps(value: Any) -> bytes:
    """Encode one JSON value, compact, as UTF-8. NaN and infinities become null.

    Raises ValueError if the value is nested too deeply.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        # Integers over 64 bits and halves of surrogate pairs are valid JSON that orjson cannot encode.
        try:
            return _standard.dumps(value, separators=(",", ":")).encode()
        except RecursionError:
            raise ValueError("nested too deeply for JSON") from None


def objects(value: Any) -> Iterator[JSONObject]:
    """Yield the objects of a list; nothing of a value that is not a list."""
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def pretty(value: Any) -> str:
    """Encode one JSON value for people: indented, in readable characters."""
    return _standard.dumps(value, indent=2, ensure_ascii=False)


def _loads_leniently(data: bytes | bytearray | str) -> Any:
    text = data if isinstance(data, str) else data.decode("utf-8-sig", "replace")
    try:
        # NaN and infinities become null, since JSON cannot encode them.
        return _standard.loads(text, strict=False, parse_constant=lambda name: None)
    except RecursionError:
        raise DepthError from None
