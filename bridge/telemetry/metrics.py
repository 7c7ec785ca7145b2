"""The metrics of one process, as plain numbers in memory: recording a request costs a few look-ups."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from bridge.openai.endpoints import PARAMETERS
from bridge.telemetry.instruments import (
    DISCONNECTS,
    DROPPED,
    DURATION_HISTOGRAM,
    ESTIMATED,
    EVICTED,
    FALLBACKS,
    FIRST_TOKEN_HISTOGRAM,
    GEN_AI,
    IN_PROGRESS,
    INPUT_TOKENS_HISTOGRAM,
    KEY_REQUESTS,
    KEY_TOKENS,
    LINES_DROPPED,
    OUTPUT_TOKENS_HISTOGRAM,
    PER_TOKEN_HISTOGRAM,
    QUEUE_REJECTIONS,
    RELOADS,
    REQUESTS,
    STORE_FAILURES,
    UPSTREAM_ERRORS,
    UPSTREAM_RETRIES,
    WAITING,
)
from bridge.telemetry.series import Series

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.deltas import Usage
    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.telemetry.instruments import Histogram

__all__ = ["Metrics"]

_DURATION_BOUNDS = DURATION_HISTOGRAM.bounds
_DURATION_SUM = DURATION_HISTOGRAM.sum_at
_MAX_TOKENS = 2**53  # a float, as metrics are, holds every smaller integer


class Metrics:
    """The metrics of one process.

    Attributes:
        series: The numbers.
    """

    def __init__(self, series: Series | None = None) -> None:
        self.series = series = series or Series()
        self._numbers = series.numbers
        self._blocks = series.blocks
        self._in_progress = series.blocks[IN_PROGRESS]
        self._requests = series.blocks[REQUESTS]
        self._gen_ai = series.blocks[GEN_AI]
        # Reported from the start, as a counter without labels. Threads add to this number only, and so never
        # a place.
        self._lines_dropped = series.blocks[LINES_DROPPED][()]
        # Reported from the start: Prometheus' increase() misses the first value of a series, and one rejected
        # reload must raise an alert.
        for result in ("ok", "rejected"):
            _ = series.blocks[RELOADS][(result,)]

    def request_started(self, route: str) -> int:
        """Count a request as in progress. Return the argument of `request_ended`."""
        at = self._in_progress[(route,)]
        self._numbers[at] += 1
        return at

    def request_ended(self, at: int) -> None:
        """Count a request as no longer in progress."""
        self._numbers[at] -= 1

    def request_waits(self, route: str, number: int) -> None:
        """Count a request as waiting for a slot of its route (1), or as no longer waiting (-1)."""
        self._count(WAITING, route, number=number)

    def queue_rejected(self, route: str, reason: str) -> None:
        """Count a request without a slot of its route: the queue is `full`, or a `timeout`."""
        self._count(QUEUE_REJECTIONS, route, reason)

    def response_finished(
        self, route: str, endpoint: EndpointSpec, model: str, status: int, error_type: str, duration: float
    ) -> None:
        """Count a response of a route. `duration`: seconds from the request to the end of the response."""
        numbers = self._numbers
        numbers[self._requests[route, endpoint.name, str(status)]] += 1
        at = self._gen_ai[endpoint.operation, model, error_type, route]
        numbers[at + bisect_left(_DURATION_BOUNDS, duration)] += 1
        numbers[at + _DURATION_SUM] += duration

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
        at = self._gen_ai[endpoint.operation, model, error_type, route]
        if first is not None:
            self._observe(FIRST_TOKEN_HISTOGRAM, at, first)
        if usage is None:
            return
        prompt, completion = (min(n, _MAX_TOKENS) for n in (usage.prompt_tokens, usage.completion_tokens))
        if usage.estimated:  # estimates must not be mixed with counts
            self._count(ESTIMATED, route, "input", number=prompt)
            self._count(ESTIMATED, route, "output", number=completion)
            return
        self._observe(INPUT_TOKENS_HISTOGRAM, at, prompt)
        if endpoint.has_output_tokens:
            self._observe(OUTPUT_TOKENS_HISTOGRAM, at, completion)
        if first is not None and completion > 1:
            self._observe(PER_TOKEN_HISTOGRAM, at, (duration - first) / (completion - 1))

    def request_rejected(self, endpoint: str, status: int) -> None:
        """Count a request that was answered without a route."""
        self._count(REQUESTS, "", endpoint, str(status))

    def key_used(self, key: str, status: int) -> None:
        """Count a response to a client of a named key."""
        self._count(KEY_REQUESTS, key, str(status))

    def key_tokens_used(self, key: str, usage: Usage) -> None:
        """Count tokens of a client of a named key."""
        self._count(KEY_TOKENS, key, "input", number=min(usage.prompt_tokens, _MAX_TOKENS))
        self._count(KEY_TOKENS, key, "output", number=min(usage.completion_tokens, _MAX_TOKENS))

    def client_disconnected(self, route: str) -> None:
        """Count a client that disconnected before its response was complete."""
        self._count(DISCONNECTS, route)

    def upstream_failed(self, route: str, kind: str) -> None:
        """Count a failure of an upstream."""
        self._count(UPSTREAM_ERRORS, route, kind)

    def upstream_retried(self, route: str, cause: str) -> None:
        """Count an upstream request that is sent again, or to another replica."""
        self._count(UPSTREAM_RETRIES, route, cause)

    def fell_back(self, route: str, fallback: str) -> None:
        """Count a request that failed on its route and is sent to the fallback of the route."""
        self._count(FALLBACKS, route, fallback)

    def replica_changed(self, route: str, replica: str, *, evicted: bool) -> None:
        """Report whether requests of a route are sent to a replica."""
        self._numbers[self._blocks[EVICTED][route, replica]] = float(evicted)

    def parameters_dropped(self, route: str, parameters: Iterable[str]) -> None:
        """Count dropped parameters. One that OpenAI does not document is counted as `other`."""
        for parameter in parameters:
            self._count(DROPPED, route, parameter if parameter in PARAMETERS else "other")

    def store_failed(self, route: str) -> None:
        """Count a failure to reach the store of kept sessions."""
        self._count(STORE_FAILURES, route)

    def reloaded(self, result: str) -> None:
        """Count a reload of the routes file: `ok` or `rejected`."""
        self._count(RELOADS, result)

    def log_lines_dropped(self, number: int) -> None:
        """Count lines of the log that were not written."""
        self._numbers[self._lines_dropped] += number

    def _count(self, name: str, *labels: str, number: float = 1) -> None:
        self._numbers[self._blocks[name][labels]] += number

    def _observe(self, histogram: Histogram, at: int, value: float) -> None:
        """Count a value in its bucket. A bucket contains its bound."""
        numbers, start = self._numbers, at + histogram.start
        numbers[start + bisect_left(histogram.bounds, value)] += 1
        numbers[start + len(histogram.bounds) + 1] += value
