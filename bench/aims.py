"""What the bridge is to cost at most, held against what was measured."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from bench.cases import PACED_CASES
from bench.tables import BASE, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from bench.tables import Rounds

    # From what was measured by case, and the label of the bridge in question, to a figure if there is one.
    Measure: TypeAlias = Callable[[Mapping[str, Rounds], str], float | None]

__all__ = ["aims"]


class Aim(NamedTuple):
    """One aim: `wanted` is the most that the figure may be, or the least if `least`."""

    said: str
    wanted: float
    unit: str
    measure: Measure
    least: bool = False

    def row(self, measured: Mapping[str, Rounds], label: str) -> str | None:
        got = self.measure(measured, label)
        if got is None:
            return None
        met = got >= self.wanted if self.least else got <= self.wanted
        sign = "≥" if self.least else "≤"
        wanted, shown = f"{sign} {self.wanted:g} {self.unit}", f"{got:.2f} {self.unit}"
        return f"| {label} | {self.said} | {wanted} | {shown} | {'met' if met else '**not met**'} |"


def aims(measured: Mapping[str, Rounds], labels: list[str]) -> str:
    """The table of all aims of which there are figures, for each bridge."""
    rows = [row for label in labels for aim in _AIMS if (row := aim.row(measured, label))]
    head = ["\n### aims\n", "| | what | wanted | measured | |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def _cpu(case: str, base: str) -> Measure:
    """CPU time, in times that of another proxy."""
    return lambda measured, label: ratio("cpu", _taken(measured, case, label), _taken(measured, case, base))


def _less(case: str, than: str) -> Measure:
    """How often another proxy's CPU time holds that of the bridge."""
    return lambda measured, label: ratio("cpu", _taken(measured, case, than), _taken(measured, case, label))


def _translating(measured: Mapping[str, Rounds], label: str) -> float | None:
    passing = _taken(measured, "burst", f"{label}, openai")
    return ratio("cpu", _taken(measured, "burst", label), passing)


def _median(case: str, name: str, unit: float) -> Measure:
    def measure(measured: Mapping[str, Rounds], label: str) -> float | None:
        taken = _taken(measured, case, label)
        return statistics.median(one[name] for one in taken) / unit if taken else None

    return measure


def _taken(measured: Mapping[str, Rounds], case: str, label: str) -> list[dict[str, float]]:
    return measured.get(case, {}).get(label, [])


_AIMS = (
    Aim("CPU of a whole answer", 2.5, f"× {BASE}", _cpu("whole", BASE)),
    Aim("CPU of a whole answer, LiteLLM's", 80, "× the bridge", _less("whole", "litellm"), least=True),
    *(
        Aim(f"CPU of a chunk alone, {case}", most, f"× {base}", _cpu(case, base))
        for case in PACED_CASES
        for base, most in ((BASE, 1.6), ("nginx", 2.5))
    ),
    Aim("CPU of a stream of 100 chunks in a burst", 1.5, f"× {BASE}", _cpu("burst", BASE)),
    Aim("CPU of translating, in a burst", 1.25, "× passing through", _translating),
    Aim("p99 added to a whole answer at half load", 2, "ms", _median("half", "added_p99", 1e-3)),
    Aim("start to ready", 0.5, "s", _median("start", "ready", 1)),
    Aim("resident, after whole answers", 60, "MB", _median("whole", "resident", 1e6)),
    Aim("resident for each open stream", 40, "KiB", _median("idle", "each", 1024)),
)
