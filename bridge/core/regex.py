"""Regular expressions of the file. No other module imports RE2, which only files with a pattern need.

RE2 reads a text once, whatever the pattern. Python's `re` tries alternatives again and again: `(a+)+$` takes
12 s for 29 characters that a client or an upstream chooses.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Pattern"]


class Pattern:
    """A compiled regular expression."""

    __slots__ = ("_pattern",)

    def __init__(self, text: Any) -> None:
        """Compile a pattern in RE2's syntax. Raises ValueError."""
        import re2

        options = re2.Options()
        options.log_errors = False
        try:
            self._pattern = re2.compile(text, options=options)
        except re2.error as error:
            reason = error.args[0] if error.args else error
            message = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
            raise ValueError(f"not a valid regular expression: {message}") from None
        except (TypeError, UnicodeEncodeError):
            raise ValueError("not a valid regular expression: expected a string") from None

    def is_in(self, text: str) -> bool:
        """Return whether the pattern matches somewhere in a text."""
        return self._pattern.search(_encoded(text)) is not None

    def first_group(self, text: str) -> str | None:
        """Return the first group of the first match, or the match without groups; None without a match."""
        found = self._pattern.search(_encoded(text))
        if found is None:
            return None
        group = found[1 if self._pattern.groups else 0]
        return "" if group is None else group.decode("utf-8", "replace")

    def replace(self, replacement: str, text: str) -> str:
        """Return a text with every match replaced."""
        replaced: str = self._pattern.sub(_encoded(replacement).decode(), _encoded(text).decode())
        return replaced


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # halves of surrogate pairs become question marks
