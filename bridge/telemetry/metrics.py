"""The metrics of one process, as plain numbers in memory: recording a request costs a few look-ups.

metrics.request_started(…), …        while requests run
metrics.snapshot() ─▶ Snapshot       for /metrics (`exposition`) and for other workers (`shared_metrics`)
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

from bridge.openai.endpoints import PARAMETERS
from bridge.telemetry.instruments import (
    COUNTERS,
    DISCONNECTS,
    DROPPED,
    DURATION,
    ESTIMATED,
    EVICTED,
    FIRST_TOKEN,
    HISTOGRAMS,
    IN_PROGRESS,
    LINES_DROPPED,
    PER_TOKEN,
    RELOADS,
    REQUESTS,
    STORE_FAILURES,
    TOKENS,
    UPSTREAM_ERRORS,
    UPSTREAM_RETRIES,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.deltas import Usage
    from bridge.openai.endpoint_spec import EndpointSpec

__all__ = ["Labels", "Metrics", "Snapshot"]

Labels = tuple[str, ...]  # the values of an instrument's labels

Snapshot = dict[str, dict[Labels, list[float]]]
"""The numbers of each instrument by label values: one, or those of a histogram's buckets and their sum."""

_MAX_TOKENS = 2**53  # a float, as metrics are, holds every smaller integer


class _Histogram(dict[Labels, list[float]]):
    """The numbers of observations in each bucket, and last the sum of what was observed, by label values."""

    __slots__ = ("_bounds",)

    def __init__(self, bounds: tuple[float, ...]) -> None:
        super().__init__()
        self._bounds = bounds

    def __missing__(self, labels: Labels) -> list[float]:
        numbers = self[labels] = [0.0] * (len(self._bounds) + 2)
        return numbers

    def observe(self, labels: Labels, value: float) -> None:
        """Count a value in its bucket. A bucket contains its bound."""
        numbers = self[labels]
        numbers[bisect_left(self._bounds, value)] += 1
        numbers[-1] += value


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._in_progress: dict[Labels, float] = defaultdict(float)
        self._evicted: dict[Labels, float] = {}
        self._counters: dict[str, dict[Labels, float]] = {name: defaultdict(float) for name in COUNTERS}
        self._histograms = {name: _Histogram(instrument.bounds) for name, instrument in HISTOGRAMS.items()}
        # Reported from the start, as a counter without labels; also, threads add to this number only, and
        # so never a key while a snapshot is taken.
        self._counters[LINES_DROPPED][()] = 0.0

    def request_started(self, route: str) -> None:
        """Count a request as in progress."""
        self._in_progress[(route,)] += 1

    def request_ended(self, route: str) -> None:
        """Count a request as no longer in progress."""
        self._in_progress[(route,)] -= 1

    def response_finished(
        self, route: str, endpoint: EndpointSpec, model: str, status: int, error_type: str, duration: float
    ) -> None:
        """Count a response of a route. `duration`: seconds from the request to the end of the response."""
        self._counters[REQUESTS][route, endpoint.name, str(status)] += 1
        self._histograms[DURATION].observe((endpoint.operation, model, error_type, route), duration)

    def output_finished(
        self,
        route: str,
        endpoint: EndpointSpec,
        model: str,
        error_type: str,
        duration: float,
        first: float | None,
        usage: Usage | None,
    ) -> None:
        """Count tokens, and the seconds from the request to the `first` output of a stream."""
        labels = (endpoint.operation, model, error_type, route)
        if first is not None:
            self._histograms[FIRST_TOKEN].observe(labels, first)
        if usage is None:
            return
        prompt, completion = (min(n, _MAX_TOKENS) for n in (usage.prompt_tokens, usage.completion_tokens))
        if usage.estimated:  # estimates must not be mixed with counts
            self._counters[ESTIMATED][route, "input"] += prompt
            self._counters[ESTIMATED][route, "output"] += completion
            return
        self._histograms[TOKENS].observe((*labels, "input"), prompt)
        if endpoint.has_output_tokens:
            self._histograms[TOKENS].observe((*labels, "output"), completion)
        if first is not None and completion > 1:
            self._histograms[PER_TOKEN].observe(labels, (duration - first) / (completion - 1))

    def request_rejected(self, endpoint: str, status: int) -> None:
        """Count a request that was answered without a route."""
        self._counters[REQUESTS]["", endpoint, str(status)] += 1

    def client_disconnected(self, route: str) -> None:
        """Count a client that disconnected before its response was complete."""
        self._counters[DISCONNECTS][(route,)] += 1

    def upstream_failed(self, route: str, kind: str) -> None:
        """Count a failure of an upstream."""
        self._counters[UPSTREAM_ERRORS][route, kind] += 1

    def upstream_retried(self, route: str, cause: str) -> None:
        """Count an upstream request that is sent again, or to another replica."""
        self._counters[UPSTREAM_RETRIES][route, cause] += 1

    def replica_changed(self, route: str, replica: str, *, evicted: bool) -> None:
        """Report whether requests of a route are sent to a replica."""
        self._evicted[route, replica] = float(evicted)

    def parameters_dropped(self, route: str, parameters: Iterable[str]) -> None:
        """Count dropped parameters. One that OpenAI does not document is counted as `other`."""
        for parameter in parameters:
            self._counters[DROPPED][route, parameter if parameter in PARAMETERS else "other"] += 1

    def store_failed(self, route: str) -> None:
        """Count a failure to reach the store of kept sessions."""
        self._counters[STORE_FAILURES][(route,)] += 1

    def reloaded(self, result: str) -> None:
        """Count a reload of the routes file: `ok` or `rejected`."""
        self._counters[RELOADS][(result,)] += 1

    def log_lines_dropped(self, number: int) -> None:
        """Count lines of the log that were not written."""
        self._counters[LINES_DROPPED][()] += number

    def snapshot(self) -> Snapshot:
        """Return a copy of all numbers."""
        single = {IN_PROGRESS: self._in_progress, EVICTED: self._evicted, **self._counters}
        numbers = {
            name: {labels: [value] for labels, value in series.items()} for name, series in single.items()
        }
        for name, histogram in self._histograms.items():
            numbers[name] = {labels: [*values] for labels, values in histogram.items()}
        return numbers

    def restore(self, snapshot: Snapshot) -> None:
        """Continue the counters and histograms of a process that has ended."""
        for name, counter in self._counters.items():
            counter.update((labels, value) for labels, (value,) in snapshot.get(name, {}).items())
        for name, histogram in self._histograms.items():
            histogram.update(snapshot.get(name, {}))
