"""Faults of a file as a person meets them: where, what is wrong, what was expected, the nearest word.

routes.yaml:12:5: routes[0].respones: unknown key
    respones: $.text
    ^
  expected one of response, stream, error, …; did you mean `response`?
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.masking import mask

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["Location", "Problem", "Problems", "SourceFile", "closest_match"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file's name, as the person gave it, and its lines."""

    name: str
    lines: tuple[str, ...]


class Location(NamedTuple):
    """Where something stands: both numbers count from 1."""

    source: SourceFile
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault at one place. `path` is the way to it through the file: `routes[0].request.body`."""

    location: Location
    path: str
    message: str
    expected: str = ""

    def __str__(self) -> str:
        source, line, column = self.location
        head = f"{source.name}:{line}:{column}: {self.path + ': ' if self.path else ''}{self.message}"
        return "\n".join([head, *self._excerpt(), *([f"  {self.expected}"] if self.expected else [])])

    def _excerpt(self) -> list[str]:
        source, line, column = self.location
        if not 1 <= line <= len(source.lines):
            return []
        text = source.lines[line - 1].replace("\t", " ")
        # A long line is shown around the fault only.
        start = max(0, column - 60) if len(text) > 110 else 0
        return [f"    {text[start : start + 110]}", f"    {' ' * (column - 1 - start)}^"]


class Problems(list[Problem]):
    """The faults of a file, gathered in one pass so that all are told at once."""

    def __init__(self) -> None:
        super().__init__()
        self._suppressed: set[tuple[str, int, int]] = set()

    def add(
        self,
        place: Location,
        path: str,
        message: str,
        *,
        expected: str = "",
        known: Iterable[str] = (),
        word: str = "",
    ) -> None:
        """Note a fault; with `known` words, the nearest one to `word` is proposed."""
        if (place.source.name, place.line, place.column) in self._suppressed:
            return
        known = list(known)
        parts = [f"expected {expected}" if expected else ""]
        if not expected and known:
            parts = [f"expected one of {', '.join(known)}"]
        if near := closest_match(word, known):
            parts.append(f"did you mean `{near}`?")
        self.append(Problem(place, path, message, "; ".join(part for part in parts if part)))

    def suppress(self, place: Location) -> None:
        """Say no more of what stands there: what it should be is not known."""
        self._suppressed.add((place.source.name, place.line, place.column))

    def mask(self, secrets: Collection[str], start: int) -> None:
        """Mask secrets in the messages of the problems from index `start` on."""
        for index in range(start, len(self)):
            self[index] = replace(self[index], message=mask(self[index].message, secrets))

    def sorted(self) -> list[Problem]:
        """In the order of the file. What an alias repeats is told once."""
        told = {
            (problem.location.source.name, problem.location[1:], problem.message): problem
            for problem in self[::-1]
        }
        return [told[key] for key in sorted(told)]


def closest_match(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, if any is near."""
    folded = {name.lower().replace("-", "_"): name for name in known}
    word = word.lower().replace("-", "_")
    found = get_close_matches(word, folded, n=3, cutoff=0.6)
    # Of equally near ones, the word in which only the letters' order differs.
    return folded[min(found, key=lambda name: sorted(name) != sorted(word))] if found else None
