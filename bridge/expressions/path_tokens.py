"""The text of a path, read from left to right: names, strings and numbers as RFC 9535 writes them.

One deviation: a name after a dot may contain hyphens and begin with a digit, as in `$.x-rate.4k`, since the
names of many servers do. RFC 9535 requires `$['x-rate']`.
"""

from __future__ import annotations

import json
import re

__all__ = ["PathText", "PathTextError"]

_BLANKS = re.compile(r"[ \t\n\r]*")
_NAME = re.compile(r"[A-Za-z0-9_\-\u0080-\ud7ff\ue000-\U0010ffff]+")
_INTEGER = re.compile(r"-?[1-9][0-9]*|0")
_NUMBER = re.compile(r"(?:-?[1-9][0-9]*|-?0)(?P<fraction>\.[0-9]+)?(?P<exponent>[eE][+-]?[0-9]+)?")
_FUNCTION = re.compile(r"([a-z][a-z0-9_]*)\(")
_LITERAL = re.compile(r"(true|false|null)(?![A-Za-z0-9_])")
_STRING = {
    '"': re.compile(r'"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*)"'),
    "'": re.compile(r"'((?:[^'\\\x00-\x1f]|\\(?:['\\/bfnrt]|u[0-9A-Fa-f]{4}))*)'"),
}
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MAX_INTEGER = 2**53 - 1  # RFC 9535, section 2.1: an integer that every JSON parser represents exactly
_CONSTANTS = {"true": True, "false": False, "null": None}


class PathTextError(ValueError):
    """Text that no path contains at a position."""

    def __init__(self, position: int, expected: str) -> None:
        super().__init__(f"expected {expected} at character {position + 1}")


class PathText:
    """The text of a path, and the position up to which it is read."""

    __slots__ = ("position", "text")

    def __init__(self, text: str, position: int = 0) -> None:
        self.text = text
        self.position = position

    def skip_blanks(self) -> None:
        """Read white space."""
        match = _BLANKS.match(self.text, self.position)
        assert match is not None
        self.position = match.end()

    def is_at(self, symbol: str) -> bool:
        """Return whether the next characters are a symbol."""
        return self.text.startswith(symbol, self.position)

    def take(self, symbol: str) -> bool:
        """Read a symbol if it is next, and return whether it is."""
        if not self.is_at(symbol):
            return False
        self.position += len(symbol)
        return True

    def require(self, symbol: str, expected: str = "") -> None:
        """Read a symbol. Raises PathTextError if it is not next."""
        if not self.take(symbol):
            raise self.error(expected or f"`{symbol}`")

    def error(self, expected: str) -> PathTextError:
        """Return the error of the current position."""
        return PathTextError(self.position, expected)

    def take_name(self) -> str | None:
        """Return a name after a dot; None if none is next."""
        return self._take(_NAME)

    def take_function(self) -> str | None:
        """Return the name of a function with its opening parenthesis read; None if none is next."""
        match = _FUNCTION.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match[1]

    def take_integer(self) -> int | None:
        """Return an index; None if none is next. Raises PathTextError for one that is not valid."""
        start = self.position
        digits = self._take(_INTEGER)
        if digits is None:
            return None
        if abs(int(digits)) > _MAX_INTEGER or self.text[self.position : self.position + 1].isdigit():
            raise PathTextError(start, f"an integer without leading zeros, up to {_MAX_INTEGER}")
        return int(digits)

    def take_literal(self) -> tuple[bool, object]:
        """Return whether a string, a number, true, false or null is next, and its value."""
        if self.is_at('"') or self.is_at("'"):
            return True, self.take_string()
        if (word := self._take(_LITERAL)) is not None:
            return True, _CONSTANTS[word]
        match = _NUMBER.match(self.text, self.position)
        if match is None:
            return False, None
        self.position = match.end()
        return True, float(match[0]) if match["fraction"] or match["exponent"] else int(match[0])

    def take_string(self) -> str:
        """Return a string in quotes. Raises PathTextError for an invalid one."""
        quote = self.text[self.position]
        match = _STRING[quote].match(self.text, self.position)
        if match is None:
            raise self.error(
                f"a string that ends with {quote}, without control characters and unknown escapes"
            )
        written = match[1]
        if quote == "'":
            written = written.replace("\\'", "'").replace('"', '\\"')
        value: str = json.loads(f'"{written}"') if "\\" in written else written
        if _LONE_SURROGATE.search(value):
            raise self.error("a string of whole characters")
        self.position = match.end()
        return value

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match[0]
