"""Requests of other APIs as chat requests: the result of a translation, and the errors of its input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.openai.request_validation import invalid_type, missing_member

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["DroppedNames", "Translation", "member", "objects"]


class Translation(NamedTuple):
    """A request as a request for a chat completion."""

    body: JSONObject
    dropped: tuple[str, ...]  # what a chat request cannot express, for the header of dropped parameters


class DroppedNames:
    """The names of what is dropped, each once, in the order in which they were met."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """Add a name."""
        self._names[name] = None

    def as_tuple(self) -> tuple[str, ...]:
        """Return the names."""
        return tuple(self._names)


def objects(value: Any, at: str) -> list[JSONObject]:
    """Return a list of objects; an empty list for null. Raise RequestError (400)."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid_type(at, "an array of objects", value)
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            raise invalid_type(f"{at}[{number}]", "an object", item)
    return value


def member(item: JSONObject, name: str, at: str) -> str:
    """Return a required text of an object. Raise RequestError (400)."""
    value = item.get(name)
    if value is None:
        raise missing_member(f"{at}.{name}")
    if not isinstance(value, str):
        raise invalid_type(f"{at}.{name}", "a string", value)
    return value
