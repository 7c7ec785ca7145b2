"""Colours on a terminal. NO_COLOR (no-color.org), TERM=dumb and a pipe turn them off."""

from __future__ import annotations

import os
import sys

__all__ = ["highlight"]

_COLOURS = {"problem": "31", "warning": "33", "good": "32"}  # SGR: red, yellow, green


def highlight(text: str, kind: str) -> str:
    """Return a text with its first line in the colour of its kind, if standard output is a terminal."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    first, line_end, rest = text.partition("\n")
    return f"\x1b[{_COLOURS[kind]}m{first}\x1b[0m{line_end}{rest}"
