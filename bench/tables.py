"""Markdown tables of the figures: medians of the rounds, CPU time also as a multiple of the base's."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.load import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.cases import Figures

__all__ = ["BASE", "Rounds", "ratio", "table"]

BASE = "nginx+lua"

# The figures of each round, by label; an empty list for a proxy that skips the case.
Rounds = dict[str, list["Figures"]]

_TITLES = {
    "cpu": "CPU, µs each", "rate": "a second", "alone": "alone, %",
    "p50": "p50, ms", "p99": "p99, ms", "added_p50": "added, p50, ms", "added_p99": "added, p99, ms",
    "first_p50": "first, p50, ms", "first_p99": "first, p99, ms",
    "each": "KiB each", "resident": "resident, MB",
    "before": "before, MB", "plateau": "plateau, MB", "growth": "growth, KB a minute",
    "ready": "ready after, ms", "ready_cpu": "CPU until then, ms",
    **{f"within_{limit * 1e3:g}": f"a second at p99 ≤ {limit * 1e3:g} ms" for limit in LIMITS},
}  # fmt: skip


def table(case: str, rounds: Rounds, note: str) -> str:
    """Return one case's table: a row for each proxy, a column for each figure."""
    names = list(next((figures[0] for figures in rounds.values() if figures), {}))
    titles = [title for name in names for title in _titles(name)]
    lines = [f"\n### {case}\n\n{note}\n", _row("", titles), "| --- " * (len(titles) + 1) + "|"]
    for label, figures in rounds.items():
        cells = [cell for name in names for cell in _cells(name, figures, rounds.get(BASE, []))]
        lines.append(_row(label, cells if figures else ["-"] * len(titles)))
    return "\n".join(lines)


def ratio(name: str, rounds: list[Figures], base: list[Figures]) -> float | None:
    """Return a figure as a multiple of another proxy's: the median of the rounds that have both."""
    ratios = [ours[name] / theirs[name] for ours, theirs in zip(rounds, base, strict=False) if theirs[name]]
    return statistics.median(ratios) if ratios else None


def _row(label: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([label, *cells])} |"


def _titles(name: str) -> list[str]:
    return [_TITLES[name], f"× {BASE}"] if name == "cpu" else [_TITLES[name]]


def _cells(name: str, rounds: list[Figures], base: list[Figures]) -> list[str]:
    if not rounds:
        return []
    values = [figures[name] for figures in rounds]
    text = _text(name, statistics.median(values))
    if name != "cpu":
        return [text]
    if len(values) > 1:
        text += f" ({_text(name, min(values))} to {_text(name, max(values))})"
    multiple = ratio(name, rounds, base)
    return [text, "-" if multiple is None else f"{multiple:.2f}"]


def _text(name: str, value: float) -> str:
    match name:
        case "rate":
            return f"{value:,.0f}"
        case "cpu":
            return f"{value * 1e6:,.1f}"
        case "alone":
            return f"{value * 100:.0f}"
        case "each":
            return f"{value / 1024:.1f}"
        case "growth":
            return f"{value / 1e3:,.0f}"
        case "before" | "plateau" | "resident":
            return f"{value / 1e6:.0f}"
        case _ if name.startswith("within_"):
            return f"{value:,.0f}"
        case _:
            return f"{value * 1e3:.2f}"
