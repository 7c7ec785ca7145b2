"""`format-bridge presets`: the shelf of shipped routes, one line each or one of them whole.

A preset tells of itself in the comment at its head, whose first line is the sentence for lists:

    # Ollama's own chat endpoint, /api/chat.   ─▶   ollama   Ollama's own chat endpoint, /api/chat
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.config.problems import closest_match
from bridge.loader import read_presets

if TYPE_CHECKING:
    import argparse

__all__ = ["markdown", "print_presets", "summaries"]


def print_presets(called: argparse.Namespace) -> int:
    """Print the list, or the preset that was asked for. Raises ValueError where there is none."""
    if called.name is not None:
        print(_find(called.name), end="")
    elif called.markdown:
        print(markdown(), end="")
    else:
        told = summaries()
        width = max(map(len, told))
        print("\n".join(f"{name:{width}}  {summary}" for name, summary in told.items()))
    return 0


def summaries() -> dict[str, str]:
    """What each preset is, in a sentence without its full stop."""
    return {
        name: text.partition("\n")[0].removeprefix("#").strip().removesuffix(".")
        for name, text in read_presets().items()
    }


def markdown() -> str:
    """The table of presets for a page at the root of the project."""
    rows = [
        f"| [`{name}`](bridge/presets/{name}.yaml) | {summary} |" for name, summary in summaries().items()
    ]
    return "\n".join(["| preset | what it is for |", "| --- | --- |", *rows, ""])


def _find(name: str) -> str:
    presets = read_presets()
    text = presets.get(name)
    if text is None:
        near = closest_match(name, presets)
        hint = f"did you mean `{near}`?" if near else "`format-bridge presets` lists them"
        raise ValueError(f"there is no preset `{name}`; {hint}")
    return text
