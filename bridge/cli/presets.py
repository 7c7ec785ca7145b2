"""`format-bridge presets`: the list of shipped routes, or the text of one.

The first line of a preset's comment is its description in the list:

    # Ollama's own chat endpoint, /api/chat.   ─▶   ollama   Ollama's own chat endpoint, /api/chat
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.cli.preset_route import preset_route
from bridge.config.problems import closest_match
from bridge.loader import read_presets

if TYPE_CHECKING:
    import argparse

__all__ = ["markdown", "print_presets", "summaries"]


def print_presets(arguments: argparse.Namespace) -> int:
    """Print the list or one preset, and return the exit code. Raises ValueError for an unknown preset."""
    if arguments.name is not None:
        text = _text(arguments.name)
        print(preset_route(arguments.name, text) if arguments.route else text, end="")
    elif arguments.markdown:
        print(markdown(), end="")
    else:
        listed = summaries()
        width = max(map(len, listed))
        print("\n".join(f"{name:{width}}  {summary}" for name, summary in listed.items()))
    return 0


def summaries() -> dict[str, str]:
    """Return the descriptions of the presets by name, without a full stop."""
    return {
        name: text.partition("\n")[0].removeprefix("#").strip().removesuffix(".")
        for name, text in read_presets().items()
    }


def markdown() -> str:
    """Return the table of presets in README.md."""
    rows = [
        f"| [`{name}`](bridge/presets/{name}.yaml) | {summary} |" for name, summary in summaries().items()
    ]
    return "\n".join(["| preset | what it is for |", "| --- | --- |", *rows, ""])


def _text(name: str) -> str:
    presets = read_presets()
    text = presets.get(name)
    if text is None:
        match = closest_match(name, presets)
        hint = f"did you mean `{match}`?" if match else "`format-bridge presets` lists the presets"
        raise ValueError(f"unknown preset `{name}`; {hint}")
    return text
