"""The growth of a piece of work from N to 4 N: linear work grows four-fold, quadratic work sixteen-fold.

    assert_linear(Row(lambda n: lambda: parse(b"[" * n), 10_000))

Each measure shows what the others miss:

* instructions of the bridge's own modules, the same on every computer, but blind to a call of C;
* processor time of this thread, at sizes where quadratic work would take many milliseconds;
* the peak of the memory that `tracemalloc` sees.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import NamedTuple

from bridge.core.errors import BridgeError
from tests.test_costs import InstructionCounter, counted, traced

__all__ = ["Growth", "Make", "Row", "assert_linear", "growth", "settled"]

Make = Callable[[int], Callable[[], object]]
"""Returns the work of a size. What is done before the work is returned is not measured."""

_MAX_GROWTH = 5.0  # times, from N to 4 N
_MAX_TIME_GROWTH = 8.0  # caches and neighbours on the machine may double the time of linear work
_MIN_TIME = 10_000_000  # nanoseconds: shorter work is not measured
_STEPS_N = 128  # counting instructions is slow
_ATTEMPTS = 4  # the clock may fail by chance, but not each time


class Row(NamedTuple):
    """A piece of work.

    Attributes:
        make: Makes the work of a size.
        n: The smaller size at which time is measured, and the larger one at which memory is.
    """

    make: Make
    n: int


class Growth(NamedTuple):
    """Each measure of a size, divided by the measure of a quarter of that size."""

    steps: float
    time: float
    memory: float


def assert_linear(row: Row) -> None:
    """Fail if the instructions, the time or the memory of a piece of work grow by more than their bounds."""
    grown = growth(row)
    assert grown.steps <= _MAX_GROWTH, grown
    assert grown.memory <= _MAX_GROWTH, grown
    assert grown.time <= _MAX_TIME_GROWTH, grown


def growth(row: Row) -> Growth:
    """Measure a piece of work."""
    small = min(row.n, _STEPS_N)
    row.make(small)()  # what is made once, such as the table of a route, is not counted
    with traced(InstructionCounter()):
        row.make(2)()
    steps = _steps(row.make(4 * small)) / _steps(row.make(small))
    if steps > 2 * _MAX_GROWTH:
        return Growth(steps, steps, 0)  # the larger sizes would take too long
    smaller, work, larger = row.make(max(row.n // 4, 1)), row.make(row.n), row.make(4 * row.n)
    return Growth(steps, min(_time_growth(work, larger)), _peak(work) / _peak(smaller))


def settled(work: Callable[[], object]) -> object:
    """Return the result of some work, or the bridge's error: a refusal must be cheap too."""
    try:
        return work()
    except BridgeError as error:
        return error


def _time_growth(work: Callable[[], object], larger: Callable[[], object]) -> list[float]:
    """Return the growth of the time, measured until a growth is acceptable."""
    ratios = [1.0] if (first := _time(larger)) < _MIN_TIME else [first / _time(work)]
    while ratios[-1] > _MAX_TIME_GROWTH and len(ratios) < _ATTEMPTS:
        ratios.append(_time(larger) / _time(work))
    return ratios


def _steps(work: Callable[[], object]) -> int:
    with counted() as counter:
        work()
    return max(counter.instructions, 200)


def _time(work: Callable[[], object]) -> int:
    gc.disable()  # a collection takes as long as all objects of the process are many
    try:
        begin = time.thread_time_ns()
        work()
        return max(time.thread_time_ns() - begin, _MIN_TIME // 100)
    finally:
        gc.enable()


def _peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return max(tracemalloc.get_traced_memory()[1], 2**16)
    finally:
        tracemalloc.stop()
