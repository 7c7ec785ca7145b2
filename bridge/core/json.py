"""JSON as bytes in and bytes out: the one file that knows the JSON library.

orjson is strict: it refuses byte order marks, NaN, halves of surrogate pairs and broken UTF-8, all of which
real model servers send. What it refuses, the standard library reads; what neither reads is a `ValueError`.
"""

from __future__ import annotations

import json as _standard
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JSONObject", "dumps", "loads", "loads_strictly", "objects", "pretty"]

JSONObject = dict[str, Any]

loads_strictly = orjson.loads
"""Reads one JSON value that any reader takes. Raises ValueError when it is none."""


def loads(data: bytes | bytearray | str) -> Any:
    """Read one JSON value. Raises ValueError when it is none."""
    try:
        return orjson.loads(data)
    except ValueError as error:
        if str(error).startswith("depth limit"):
            # How deep the standard library reads depends on Python's version.
            raise ValueError("JSON nested too deeply") from None
        return _loads_leniently(data)


def dumps(value: Any) -> bytes:
    """Write one JSON value, compact, as UTF-8. NaN and infinities become null.

    Raises ValueError when it is nested too deeply.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        # Integers over 64 bits and halves of surrogate pairs: valid JSON, beyond orjson.
        try:
            return _standard.dumps(value, separators=(",", ":")).encode()
        except RecursionError:
            raise ValueError("nested too deeply for JSON") from None


def objects(value: Any) -> Iterator[JSONObject]:
    """Yield the objects of a list; nothing of a value that is not a list."""
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def pretty(value: Any) -> str:
    """Write one JSON value for people: indented, in readable characters."""
    return _standard.dumps(value, indent=2, ensure_ascii=False)


def _loads_leniently(data: bytes | bytearray | str) -> Any:
    text = data if isinstance(data, str) else data.decode("utf-8-sig", "replace")
    try:
        # What is not a number has no place in JSON, and no way out of here.
        return _standard.loads(text, strict=False, parse_constant=lambda name: None)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
