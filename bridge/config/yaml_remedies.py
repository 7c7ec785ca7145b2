"""Remedies for invalid YAML: what is most probably wrong with the line at which the parser stopped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.config.problems import Location

__all__ = ["yaml_remedy"]

_TABS = "spaces for indentation, YAML allows no tabs"
_QUOTES = 'quotes around "{{ … }}", "${…}" and "$.…" at the start of a value or inside {…} or […]'
_INDENTATION = "the same indentation as the other keys of the mapping"
_MARKS = ("{{", "{%", "${", "$.", "$[")


def yaml_remedy(location: Location, problem: str = "", *, of_quote: bool = False) -> str:
    """Return the remedy for a line; `problem` is the parser's text, `of_quote` an unfinished quotation."""
    lines = location.source.lines
    line = lines[location.line - 1] if location.line <= len(lines) else ""
    before, rest = line[: location.column - 1], line[location.column - 1 :]
    if "\t" in line[: location.column]:
        return _TABS
    if of_quote:
        return "a closing quote"
    if "alias" in problem or re.search(r"(^|[\s\[,{])\*$", before):
        return 'quotes around a value that begins with *, such as "*"'
    if _is_indentation(problem, before):
        return _INDENTATION
    if problem.startswith("mapping values") or (problem.endswith("got ':'") and "{{" not in line):
        return 'quotes around a value that contains ": "'
    if any(mark in line for mark in _MARKS):
        return _QUOTES
    if problem.endswith("cannot start any token"):
        return f"quotes around a value that begins with {rest[:1]}"
    return ""


def _is_indentation(problem: str, before: str) -> bool:
    """Return whether the parser stopped at a key of a wrong indentation; `before` is its line before that."""
    if problem.startswith("mapping values"):
        return ":" not in before
    return "<block end>" in problem and not before.strip()
