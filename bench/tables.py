"""The tables that the benchmark prints: medians of the rounds, CPU also in times nginx with Lua's."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.cases import Figures

__all__ = ["BASE", "Rounds", "ratio", "table"]

BASE = "nginx+lua"

# The figures of each round, by label; none of a proxy that takes no part in the case.
Rounds = dict[str, list["Figures"]]

_TITLES = {
    "cpu": "CPU, µs each", "rate": "a second", "alone": "alone, %",
    "p50": "p50, ms", "p99": "p99, ms", "added_p50": "added, p50, ms", "added_p99": "added, p99, ms",
    "first_p50": "first, p50, ms", "first_p99": "first, p99, ms",
    "each": "KiB each", "resident": "resident, MB",
    "ready": "ready after, ms", "ready_cpu": "CPU till then, ms",
}  # fmt: skip


def table(case: str, rounds: Rounds, note: str) -> str:
    """One case's table: a row for each proxy, a column for each figure."""
    names = list(next((taken[0] for taken in rounds.values() if taken), {}))
    titles = [title for name in names for title in _headed(name)]
    lines = [f"\n### {case}\n\n{note}\n", _row("", titles), "| --- " * (len(titles) + 1) + "|"]
    for label, taken in rounds.items():
        cells = [cell for name in names for cell in _cells(name, taken, rounds.get(BASE, []))]
        lines.append(_row(label, cells if taken else ["-"] * len(titles)))
    return "\n".join(lines)


def ratio(name: str, taken: list[Figures], base: list[Figures]) -> float | None:
    """How often a figure holds another proxy's, in the middle of the rounds that have both."""
    ratios = [one[name] / other[name] for one, other in zip(taken, base, strict=False) if other[name]]
    return statistics.median(ratios) if ratios else None


def _row(label: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([label, *cells])} |"


def _headed(name: str) -> list[str]:
    return [_TITLES[name], f"× {BASE}"] if name == "cpu" else [_TITLES[name]]


def _cells(name: str, taken: list[Figures], base: list[Figures]) -> list[str]:
    if not taken:
        return []
    values = [one[name] for one in taken]
    shown = _shown(name, statistics.median(values))
    if name != "cpu":
        return [shown]
    if len(values) > 1:
        shown += f" ({_shown(name, min(values))} to {_shown(name, max(values))})"
    times = ratio(name, taken, base)
    return [shown, "-" if times is None else f"{times:.2f}"]


def _shown(name: str, value: float) -> str:
    match name:
        case "rate":
            return f"{value:,.0f}"
        case "cpu":
            return f"{value * 1e6:,.1f}"
        case "alone":
            return f"{value * 100:.0f}"
        case "each":
            return f"{value / 1024:.1f}"
        case "resident":
            return f"{value / 1e6:.0f}"
        case _:
            return f"{value * 1e3:.2f}"
