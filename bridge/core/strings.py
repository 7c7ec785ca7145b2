"""Strings of the file of routes that carry more than their characters, and conversions to text.

A string with `${NAME}` or `${file:…}` becomes an `Interpolated`, which remembers the text of the file. Only
the text of the file may be a template or a path, never the values that it includes.
"""

from __future__ import annotations

import json
import re

__all__ = ["Interpolated", "PathText", "count_of", "flow_text", "is_template", "key_text"]

_PLAIN = re.compile(r"[\w$/.][\w$/. *@-]*(\[[\w*]+\])*")

_OPEN, _CLOSE = "\ue000", "\ue001"  # private use: they mark the holes of `Interpolated.template`


class Interpolated(str):
    """A string of the file with the values of `${…}` filled in."""

    __slots__ = ("template", "values")

    template: str  # the text of the file, with a hole for each value
    values: tuple[str, ...]  # in the order of the holes; each may be a secret

    def __new__(cls, parts: list[str], values: list[str]) -> Interpolated:
        """Join `parts` and `values` in turn; there is one part more than values."""
        finished = parts[0] + "".join(value + part for value, part in zip(values, parts[1:], strict=True))
        text = super().__new__(cls, finished)
        holes = (f"{_OPEN}{number}{_CLOSE}{part}" for number, part in enumerate(parts[1:]))
        text.template = parts[0] + "".join(holes)
        text.values = tuple(values)
        return text

    def fill(self, text: str) -> str:
        """Fill the values into the holes of a part of `template`."""
        for number, value in enumerate(self.values):
            text = text.replace(f"{_OPEN}{number}{_CLOSE}", value)
        return text


def is_template(text: str) -> bool:
    """Return whether the text of the file contains Jinja."""
    template = text.template if isinstance(text, Interpolated) else text
    return "{{" in template or "{%" in template


def key_text(key: object) -> str:
    """Return a YAML key as the key of a JSON object."""
    return str(key).lower() if isinstance(key, bool) else "null" if key is None else str(key)


def flow_text(value: object) -> str:
    """Return data as it is written in YAML on one line: {$.code: {not: 0}}."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key_text(key)}: {flow_text(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow_text, value)) + "]"
        case str() if _PLAIN.fullmatch(value):
            return value
        case str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return key_text(value)


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: "1 route", "2 routes"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class PathText(str):
    """Text for the path of a URL (Jinja's `| path`), in which `/`, `:` and `@` are not escaped."""

    __slots__ = ()
