"""The text of /metrics, in Prometheus' format, made of the numbers of one process or of all workers.

The text of thousands of routes takes a second to make. The text is made in pieces in the event loop, each in
less than a millisecond: a thread would hold the interpreter for 5 ms at a time, and streams would wait as
long at every step.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING

from bridge.telemetry.instruments import COUNTERS, GAUGES, GEN_AI, GEN_AI_LABELS, HISTOGRAMS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from bridge.telemetry.instruments import Histogram
    from bridge.telemetry.series import Labels, Series

    # The places of the numbers of equal label values, in the series of each process that has any.
    Places = Sequence[tuple[Series, int]]

__all__ = ["exposition"]

_MAX_LINES = 100  # lines of a piece
_MAX_LABELS = 100  # label values of several processes that are brought together at once


async def exposition(processes: Sequence[Series]) -> AsyncIterator[bytes]:
    """Yield the text for Prometheus, with the sums of the numbers of all processes."""
    for series in processes:
        while series.refresh():  # noqa: ASYNC110 - the loop works, and does not wait
            await asyncio.sleep(0)
    lines: list[str] = []
    async for block in _lines(processes):
        lines += block
        if len(lines) >= _MAX_LINES:
            yield "".join(lines).encode("utf-8", "replace")
            lines.clear()
            await asyncio.sleep(0)
    yield "".join(lines).encode("utf-8", "replace")


async def _lines(processes: Sequence[Series]) -> AsyncIterator[list[str]]:
    """Yield lines, those of one combination of label values at a time."""
    for kind, suffix, instruments in (("gauge", "", GAUGES), ("counter", "_total", COUNTERS)):
        for name, instrument in instruments.items():
            yield _head(name + suffix, instrument.text, kind)
            for labels, places in await _places(processes, name):
                text = ",".join(_label_texts(instrument.labels, labels))
                total = sum(series.numbers[at] for series, at in places)
                yield [f"{name}{suffix}{{{text}}} {total}\n" if text else f"{name}{suffix} {total}\n"]
    for histograms in HISTOGRAMS:
        yield _head(histograms[0].name, histograms[0].text, "histogram")
        for labels, places in await _places(processes, GEN_AI):
            for histogram in histograms:
                yield [*_histogram_lines(histogram, labels, places)]


async def _places(processes: Sequence[Series], block: str) -> Iterable[tuple[Labels, Places]]:
    """Return the places of all numbers of a block by label values."""
    if len(processes) == 1:
        (series,) = processes
        return ((labels, ((series, at),)) for labels, at in [*series.blocks[block].items()])
    merged: dict[Labels, list[tuple[Series, int]]] = defaultdict(list)
    for series in processes:
        for number, (labels, at) in enumerate([*series.blocks[block].items()], 1):
            merged[labels].append((series, at))
            if number % _MAX_LABELS == 0:
                await asyncio.sleep(0)
    return merged.items()


def _histogram_lines(histogram: Histogram, labels: Labels, places: Places) -> Iterator[str]:
    """Yield the lines of one histogram; nothing if there are no observations."""
    start, end = histogram.start, histogram.sum_at + 1
    *counts, total = map(
        sum, zip(*(series.numbers[at + start : at + end] for series, at in places), strict=True)
    )
    cumulative = [*accumulate(counts)]
    if not cumulative[-1]:
        return
    name = histogram.name
    extra_names, extra_values = zip(*histogram.label, strict=True) if histogram.label else ((), ())
    text = ",".join(_label_texts((*GEN_AI_LABELS, *extra_names), (*labels, *extra_values)))
    for bound, count in zip((*map(_bound_text, histogram.bounds), "+Inf"), cumulative, strict=True):
        yield f'{name}_bucket{{{text},le="{bound}"}} {count}\n'
    yield f"{name}_count{{{text}}} {cumulative[-1]}\n"
    yield f"{name}_sum{{{text}}} {total}\n"


def _head(name: str, text: str, kind: str) -> list[str]:
    return [f"# HELP {name} {text}\n", f"# TYPE {name} {kind}\n"]


def _label_texts(names: Sequence[str], values: Sequence[str]) -> Iterator[str]:
    for name, value in zip(names, values, strict=True):
        escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
        yield f'{name}="{escaped}"'


def _bound_text(bound: float) -> str:
    """Return the bound of a bucket as Go writes numbers, by which Prometheus identifies the bucket."""
    text = repr(bound)
    if bound < 1e6:
        return text
    digits = text.partition(".")[0]
    return f"{digits[0]}.{digits[1:].rstrip('0') or '0'}e+{len(digits) - 1:02d}"
