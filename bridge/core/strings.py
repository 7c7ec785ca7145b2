"""Strings that are more than their characters: of the file with text from outside in them, of a URL's path.

A string of the file may hold text that came from outside (`${NAME}`, `${file:…}`). Such a string is an
`Interpolated`: itself the finished text, it remembers what the file said. Only what the file said can be
a template or a path.
"""

from __future__ import annotations

__all__ = ["Interpolated", "PathText", "count_of", "is_template", "key_text"]

_OPEN, _CLOSE = "\ue000", "\ue001"  # private use: they mark the holes of `Interpolated.own`


class Interpolated(str):
    """A string of the file with text from outside in it.

    As a string it is the finished text. `own` is what the file itself said, with holes; `values` are the
    texts that fill them, each of which may be a secret.
    """

    __slots__ = ("template", "values")

    template: str
    values: tuple[str, ...]

    def __new__(cls, parts: list[str], values: list[str]) -> Interpolated:
        """`parts` surround `values`, so there is one more of them."""
        finished = parts[0] + "".join(value + part for value, part in zip(values, parts[1:], strict=True))
        text = super().__new__(cls, finished)
        holes = (f"{_OPEN}{number}{_CLOSE}{part}" for number, part in enumerate(parts[1:]))
        text.template = parts[0] + "".join(holes)
        text.values = tuple(values)
        return text

    def fill(self, text: str) -> str:
        """Put the values into the holes of a piece of `own`."""
        for number, value in enumerate(self.values):
            text = text.replace(f"{_OPEN}{number}{_CLOSE}", value)
        return text


def is_template(text: str) -> bool:
    """Whether what the file said holds Jinja."""
    own = text.template if isinstance(text, Interpolated) else text
    return "{{" in own or "{%" in own


def key_text(key: object) -> str:
    """Return a YAML key as the key of a JSON object."""
    return str(key).lower() if isinstance(key, bool) else "null" if key is None else str(key)


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: "1 route", "2 routes"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class PathText(str):
    """What `| path` gives: text for a URL's path, whose `/ : @` stay as they are."""

    __slots__ = ()
