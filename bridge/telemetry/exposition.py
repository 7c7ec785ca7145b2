"""The text of /metrics, in Prometheus' format, made of the numbers of one process or of all workers.

prometheus-client writes the format. The text of thousands of routes takes seconds to make, so it is made in
pieces in the event loop, each in less than a millisecond: a thread would hold the interpreter for 5 ms at a
time, and streams would wait as long at every step.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from bridge.telemetry.instruments import COUNTERS, GAUGES, GEN_AI, GEN_AI_LABELS, HISTOGRAMS
from bridge.telemetry.series import Labels, Series

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from bridge.telemetry.instruments import Histogram

__all__ = ["exposition"]

# The places of the numbers of equal label values, in the series of each process that has any.
Places = Sequence[tuple[Series, int]]
# A function that adds the samples of one combination of label values to a metric.
Add = Callable[[Labels, Places], None]

_MAX_SAMPLES = 50  # of a piece
_MAX_LABELS = 100  # label values of several processes that are brought together at once
_HEAD_LINES = 2  # lines of a metric before its samples: the help text and the type


async def exposition(processes: Sequence[Series]) -> AsyncIterator[bytes]:
    """Yield the text for Prometheus, with the sums of the numbers of all processes."""
    for series in processes:
        while series.refresh():  # noqa: ASYNC110 - the loop works, and does not wait
            await asyncio.sleep(0)
    for metric, block, add in _metrics():
        head_lines = 0  # that are left out, since an earlier piece contains them
        for labels, places in await _places(processes, block):
            add(labels, places)
            if len(metric.samples) >= _MAX_SAMPLES:
                yield _text(metric, head_lines)
                head_lines = _HEAD_LINES
                metric.samples.clear()
                await asyncio.sleep(0)
        yield _text(metric, head_lines)


def _metrics() -> Iterator[tuple[Metric, str, Add]]:
    """Yield each metric without samples, the block of its numbers, and the function that adds samples."""
    for name, instrument in GAUGES.items():
        gauge = GaugeMetricFamily(name, instrument.text, labels=instrument.labels)
        yield gauge, name, partial(_add_number, gauge)
    for name, instrument in COUNTERS.items():
        counter = CounterMetricFamily(name, instrument.text, labels=instrument.labels)
        yield counter, name, partial(_add_number, counter)
    for histograms in HISTOGRAMS:
        name, text, *_ = histograms[0]
        labels = (*GEN_AI_LABELS, *(name for name, _ in histograms[0].label))
        family = HistogramMetricFamily(name, text, labels=labels)
        yield family, GEN_AI, partial(_add_histograms, family, histograms)


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


def _add_number(metric: GaugeMetricFamily | CounterMetricFamily, labels: Labels, places: Places) -> None:
    metric.add_metric(_encodable(labels), sum(series.numbers[at] for series, at in places))


def _add_histograms(
    metric: HistogramMetricFamily, histograms: Sequence[Histogram], labels: Labels, places: Places
) -> None:
    """Add the histograms of one name that have observations."""
    for histogram in histograms:
        start, end = histogram.start, histogram.sum_at + 1
        *counts, total = map(
            sum, zip(*(series.numbers[at + start : at + end] for series, at in places), strict=True)
        )
        cumulative = [*accumulate(counts)]
        if cumulative[-1]:
            names = (*map(floatToGoString, histogram.bounds), "+Inf")
            values = (*_encodable(labels), *(value for _, value in histogram.label))
            metric.add_metric(values, [*zip(names, cumulative, strict=True)], total)


def _encodable(labels: Labels) -> Labels:
    """Return label values with `?` for lone surrogates, which a routes file may contain."""
    return tuple(value.encode("utf-8", "replace").decode() for value in labels)


class _One:
    """A collector of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


def _text(metric: Metric, skipped_lines: int) -> bytes:
    """Return the text of a metric without some of its first lines."""
    return generate_latest(_One(metric)).split(b"\n", skipped_lines)[-1]
