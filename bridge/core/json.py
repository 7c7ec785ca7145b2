"""JSON from and to bytes. No other module imports orjson.

orjson rejects byte order marks, NaN, halves of surrogate pairs and invalid UTF-8, all of which model servers
send. The standard library reads what orjson rejects.

A call of orjson holds all threads of the process until its end. Where many values may arrive,
`loads_in_steps` parses in Python, between whose instructions other threads run.
"""

from __future__ import annotations

import json as _standard
from json import scanner as _scanner
from typing import TYPE_CHECKING, Any, Final

import orjson

from bridge.core.json_bounds import has_more_values, nests_deeper

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MAX_AT_ONCE",
    "DepthError",
    "JSONObject",
    "dumps",
    "dumps_in_steps",
    "loads",
    "loads_in_steps",
    "loads_numbers",
    "loads_strictly",
    "loads_text",
    "member_names",
    "objects",
    "pretty",
]

JSONObject = dict[str, Any]


MAX_AT_ONCE: Final = 200_000  # values that orjson parses in up to some 50 ms


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


def loads_in_steps(data: bytes) -> Any:
    """Parse one JSON value as `loads` does, but a thousand times interrupted in each second.

    Parsing takes 4 to 10 times as long as with `loads`. Raises ValueError.
    """
    return _decode(_IN_STEPS, data)


def loads_numbers(data: bytes) -> tuple[Any, bool]:
    """Parse one JSON value, interruptible at each number and object. Return also if the text is strict JSON.

    Parsing takes 3 times as long as with `loads`. Raises ValueError.
    """
    constants: list[str] = []
    # Functions in Python: other threads run when one is called.
    decoder = _standard.JSONDecoder(
        parse_int=lambda text: int(text),
        parse_float=lambda text: float(text),
        object_hook=lambda value: value,
        parse_constant=constants.append,
    )
    try:
        value = decoder.decode(data.decode())
    except (ValueError, RecursionError):
        return loads_in_steps(data), False
    # orjson rejects half of a surrogate pair; the escape of a whole pair begins with the same characters.
    return value, not (constants or b"\\ud" in data or b"\\uD" in data)


def loads_text(text: str) -> Any:
    """Parse JSON that is itself a string of JSON, of which limits of bodies count one value.

    Raises ValueError if the text is invalid, or has too many values or levels.
    """
    data = text.encode("utf-8", "surrogatepass")
    if has_more_values(data, MAX_AT_ONCE):
        raise ValueError(f"more than {MAX_AT_ONCE} values")
    value = loads(data)
    if data.count(b"[") + data.count(b"{") > _MAX_LEVELS and nests_deeper(value, _MAX_LEVELS):
        raise DepthError
    return value


def member_names(data: bytes) -> list[str]:
    """Return the names of an object's members as written; a name may be repeated."""
    names: list[str] = []

    def read(pairs: list[tuple[str, Any]]) -> None:
        names[:] = [name for name, _ in pairs]  # the outermost object is read last

    _decode(_standard.JSONDecoder(strict=False, object_pairs_hook=read), data)
    return names


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


def dumps_in_steps(value: Any) -> bytes:
    """Encode one JSON value as `dumps` does, but in parts, between which other threads run.

    The parts are the members of an object, and parts of long strings.
    """
    try:
        encoded = _encode_long_strings(value)
        if isinstance(encoded, dict):
            encoded = {name: orjson.Fragment(dumps(item)) for name, item in encoded.items()}
        return dumps(encoded)
    except TypeError:  # a half of a surrogate pair
        return dumps(value)


def objects(value: Any) -> Iterator[JSONObject]:
    """Yield the objects of a list; nothing of a value that is not a list."""
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def pretty(value: Any) -> str:
    """Encode one JSON value for people: indented, in readable characters."""
    return _standard.dumps(value, indent=2, ensure_ascii=False)


def _loads_leniently(data: bytes | bytearray | str) -> Any:
    return _decode(_LENIENT, data)


def _decode(decoder: _standard.JSONDecoder, data: bytes | bytearray | str) -> Any:
    text = data if isinstance(data, str) else data.decode("utf-8-sig", "replace")
    try:
        return decoder.decode(text)
    except RecursionError:
        raise DepthError from None


def _make_object(pairs: list[tuple[str, Any]]) -> JSONObject:
    """Return an object of these members, filled in steps."""
    value: JSONObject = {}
    for start in range(0, len(pairs), _STEP):
        value.update(pairs[start : start + _STEP])
    return value


def _encode_long_strings(value: Any) -> Any:
    match value:
        case dict():
            return {name: _encode_long_strings(item) for name, item in value.items()}
        case list():
            return [_encode_long_strings(item) for item in value]
        case str() if len(value) > _LONG:
            parts = (orjson.dumps(value[at : at + _LONG])[1:-1] for at in range(0, len(value), _LONG))
            return orjson.Fragment(b'"' + b"".join(parts) + b'"')
        case _:
            return value


_MAX_LEVELS = 100  # as of a client's body
_STEP = 10_000  # members, about a millisecond
_LONG = 2**20  # characters, up to some 10 ms

# NaN and infinities become null, since JSON cannot encode them.
_LENIENT = _standard.JSONDecoder(strict=False, parse_constant=lambda name: None)

_IN_STEPS = _standard.JSONDecoder(
    strict=False, parse_constant=lambda name: None, object_pairs_hook=_make_object
)
_IN_STEPS.scan_once = _scanner.py_make_scanner(_IN_STEPS)  # type: ignore[attr-defined]
