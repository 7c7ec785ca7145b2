"""The upper bounds that the bridge aims at, held against the measured figures."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from bench.cases import PACED_CASES
from bench.tables import BASE, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from bench.tables import Rounds

    # The measured rounds by case, and the label of a bridge, to a figure if there is one.
    Measure: TypeAlias = Callable[[Mapping[str, Rounds], str], float | None]

__all__ = ["aims"]


class Aim(NamedTuple):
    """One upper bound."""

    subject: str
    bound: float
    unit: str
    measure: Measure

    def row(self, measured: Mapping[str, Rounds], label: str) -> str | None:
        figure = self.measure(measured, label)
        if figure is None:
            return None
        verdict = "met" if figure <= self.bound else "**not met**"
        aim, measured_as = f"≤ {self.bound:g} {self.unit}", f"{figure:.2f} {self.unit}"
        return f"| {label} | {self.subject} | {aim} | {measured_as} | {verdict} |"


def aims(measured: Mapping[str, Rounds], labels: list[str]) -> str:
    """Return the table of all aims that have figures, for each bridge."""
    rows = [row for label in labels for aim in _AIMS if (row := aim.row(measured, label))]
    head = ["\n### aims\n", "| | subject | aim | measured | |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def _cpu(case: str) -> Measure:
    """Return a measure of CPU time as a multiple of the base's."""
    return lambda measured, label: ratio("cpu", _rounds(measured, case, label), _rounds(measured, case, BASE))


def _translating(measured: Mapping[str, Rounds], label: str) -> float | None:
    passthrough = _rounds(measured, "burst", f"{label}, openai")
    return ratio("cpu", _rounds(measured, "burst", label), passthrough)


def _median(case: str, name: str, unit: float) -> Measure:
    def measure(measured: Mapping[str, Rounds], label: str) -> float | None:
        rounds = _rounds(measured, case, label)
        return statistics.median(figures[name] for figures in rounds) / unit if rounds else None

    return measure


def _rounds(measured: Mapping[str, Rounds], case: str, label: str) -> list[dict[str, float]]:
    return measured.get(case, {}).get(label, [])


_AIMS = (
    Aim("CPU of a non-streaming response", 2.5, f"× {BASE}", _cpu("whole")),
    *(Aim(f"CPU of a single chunk, {case}", 1.4, f"× {BASE}", _cpu(case)) for case in PACED_CASES),
    Aim("CPU of a stream of 100 chunks in a burst", 1.5, f"× {BASE}", _cpu("burst")),
    Aim("CPU of translating a burst", 1.25, "× passthrough", _translating),
    Aim("start until ready", 0.5, "s", _median("start", "ready", 1)),
    Aim("resident memory after non-streaming responses", 60, "MB", _median("whole", "resident", 1e6)),
    Aim("resident memory of each idle stream", 30, "KiB", _median("idle", "each", 1024)),
)
