"""Problems of a file as they are printed: where, what is wrong, what is expected, the nearest known word.

routes.yaml:12:5: routes[0].respones: unknown key
    respones: $.text
    ^
  expected one of response, stream, error, …; did you mean `response`?
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.masking import mask

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["Location", "NameRead", "Problem", "Problems", "SourceFile", "closest_match"]

_MAX_EXCERPT = 110  # characters of a line that are printed
_EXCERPT_LEAD = 60  # characters of a longer line that are printed before the problem


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file."""

    name: str  # as the user wrote it
    lines: tuple[str, ...]


class Location(NamedTuple):
    """A position in a file."""

    source: SourceFile
    line: int  # from 1
    column: int  # from 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a file."""

    location: Location
    path: str  # the keys and indexes that lead to it: `routes[0].request.body`
    message: str
    expected: str = ""
    is_warning: bool = False  # the file can be served, but has probably another effect than intended

    def __str__(self) -> str:
        return "\n".join([self._head(), *self._excerpt(), *([f"  {self.expected}"] if self.expected else [])])

    @property
    def summary(self) -> str:
        """Return the problem on one line, without the line of the file, which may contain a secret."""
        return self._head() + (f": {self.expected}" if self.expected else "")

    def as_json(self) -> dict[str, Any]:
        """Return the problem as JSON data."""
        source, line, column = self.location
        return {
            "severity": "warning" if self.is_warning else "problem",
            "file": source.name,
            "line": line,
            "column": column,
            "path": self.path,
            "message": self.message,
            "expected": self.expected,
        }

    def masked(self, secrets: Collection[str]) -> Problem:
        """Return the problem with secrets masked. The excerpt shows the file as it is."""
        if not secrets:
            return self
        return replace(self, message=mask(self.message, secrets), expected=mask(self.expected, secrets))

    def _head(self) -> str:
        source, line, column = self.location
        parts = (["warning"] if self.is_warning else []) + ([self.path] if self.path else [])
        return f"{source.name}:{line}:{column}: {': '.join([*parts, self.message])}"

    def _excerpt(self) -> list[str]:
        """Return the line of the problem, of a long line a part, and a caret under the column."""
        source, line, column = self.location
        if not 1 <= line <= len(source.lines):
            return []
        text = source.lines[line - 1].replace("\t", " ")
        start = max(0, column - _EXCERPT_LEAD) if len(text) > _MAX_EXCERPT else 0
        return [f"    {text[start : start + _MAX_EXCERPT]}", f"    {' ' * (column - 1 - start)}^"]


class NameRead(NamedTuple):
    """A name by which an expression of the file reads a member of the request document."""

    location: Location
    path: str  # of the expression
    name: str
    in_template: bool  # by a template, not by a path


class Problems(list[Problem]):
    """The problems of a file, collected in one pass so that all of them are printed at once.

    warnings: what is valid, but has probably another effect than intended; printed beside the problems.
    names_read: the names of members of the request document that expressions read, to be checked when all
        members of the document are declared.
    """

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[Problem] = []
        self.names_read: list[NameRead] = []
        self._suppressed: set[tuple[str, int, int]] = set()

    def add(
        self,
        location: Location,
        path: str,
        message: str,
        *,
        expected: str = "",
        known: Iterable[str] = (),
        word: str = "",
    ) -> None:
        """Add a problem; of the `known` words, the one closest to `word` is suggested."""
        if (location.source.name, location.line, location.column) in self._suppressed:
            return
        known = list(known)
        if not expected and known:
            expected = f"one of {', '.join(known)}"
        self.append(Problem(location, path, message, _advice(expected, closest_match(word, known))))

    def warn(
        self, location: Location, path: str, message: str, *, expected: str = "", match: str | None = None
    ) -> None:
        """Add a warning; `match` is a word that was probably meant."""
        self.warnings.append(Problem(location, path, message, _advice(expected, match), is_warning=True))

    def suppress(self, location: Location) -> None:
        """Add no further problem at a location: after the first one, others would be consequences."""
        self._suppressed.add((location.source.name, location.line, location.column))

    def mask(self, secrets: Collection[str], start: int) -> None:
        """Mask secrets in the messages of the problems from index `start` on."""
        for index in range(start, len(self)):
            self[index] = self[index].masked(secrets)

    def mask_at(self, texts: Iterable[tuple[Location, str]]) -> None:
        """Mask each text in the problems and warnings at its location."""
        by_location: dict[Location, list[str]] = {}
        for location, text in texts:
            by_location.setdefault(location, []).append(text)
        for problems in (self, self.warnings):
            problems[:] = [each.masked(by_location.get(each.location, ())) for each in problems]

    def sorted(self) -> list[Problem]:
        """Return the problems in the order of the file, without the repetitions of an alias."""
        return _sorted(self)

    def sorted_warnings(self) -> list[Problem]:
        """Return the warnings in the order of the file, without the repetitions of an alias."""
        return _sorted(self.warnings)


def _sorted(problems: Sequence[Problem]) -> list[Problem]:
    unique = {
        (problem.location.source.name, problem.location[1:], problem.message): problem
        for problem in reversed(problems)
    }
    return [unique[key] for key in sorted(unique)]


def _advice(expected: str, match: str | None) -> str:
    parts = ([f"expected {expected}"] if expected else []) + ([f"did you mean `{match}`?"] if match else [])
    return "; ".join(parts)


def closest_match(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant; None if no word is close."""
    folded = {name.lower().replace("-", "_"): name for name in known}
    word = word.lower().replace("-", "_")
    matches = get_close_matches(word, folded, n=3, cutoff=0.6)
    # Among equally close words, prefer one with the same letters in another order.
    return folded[min(matches, key=lambda name: sorted(name) != sorted(word))] if matches else None
