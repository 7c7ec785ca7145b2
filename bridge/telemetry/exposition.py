"""The text of /metrics, in Prometheus' format, made of the numbers of one process or of all workers."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from bridge.telemetry.instruments import COUNTERS, GAUGES, HISTOGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client import Metric

    from bridge.telemetry.metrics import Snapshot

__all__ = ["exposition"]


def exposition(snapshots: Sequence[Snapshot]) -> bytes:
    """Return the text for Prometheus: the sums of the numbers of all processes."""
    registry = CollectorRegistry()
    registry.register(_Totals(_sum(snapshots)))
    return generate_latest(registry)


class _Totals(Collector):
    """The collector of numbers that are already sums."""

    def __init__(self, totals: Snapshot) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, also those without numbers."""
        for name, instrument in GAUGES.items():
            gauge = GaugeMetricFamily(name, instrument.text, labels=instrument.labels)
            for labels, (value,) in self._totals[name].items():
                gauge.add_metric(labels, value)
            yield gauge
        for name, instrument in COUNTERS.items():
            counter = CounterMetricFamily(name, instrument.text, labels=instrument.labels)
            for labels, (value,) in self._totals[name].items():
                counter.add_metric(labels, value)
            yield counter
        for name, (text, label_names, bounds) in HISTOGRAMS.items():
            histogram = HistogramMetricFamily(name, text, labels=label_names)
            bound_texts = [*map(floatToGoString, bounds), "+Inf"]
            for labels, (*counts, total) in self._totals[name].items():
                buckets = list(zip(bound_texts, accumulate(counts), strict=True))
                histogram.add_metric(labels, buckets, total)
            yield histogram


def _sum(snapshots: Sequence[Snapshot]) -> Snapshot:
    totals: Snapshot = {name: {} for name in (*GAUGES, *COUNTERS, *HISTOGRAMS)}
    for snapshot in snapshots:
        for name, series in snapshot.items():
            for labels, numbers in series.items():
                sums = totals[name].get(labels)
                totals[name][labels] = [*map(sum, zip(sums, numbers, strict=True))] if sums else numbers
    return totals
