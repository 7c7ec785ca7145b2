"""The metrics of one process, or of all workers together, for Prometheus.

Label values come from the routes file, never from a client. The names and buckets of `gen_ai_*` follow
OpenTelemetry's semantic conventions for generative AI (1.37, metrics).
"""

from __future__ import annotations

import asyncio
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

from bridge.openai.endpoints import PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.deltas import Usage
    from bridge.openai.endpoint_spec import EndpointSpec

__all__ = ["Metrics"]

T = TypeVar("T", bound=MetricWrapperBase)

_MAX_READS = 50  # attempts to read the files of all workers
_READ_DELAY = 0.02  # seconds between two attempts
_MAX_TOKENS = 2**53  # a float, as metrics are, holds every smaller integer

_IN_PROGRESS = "bridge_requests_in_progress"
_REQUESTS = "bridge_requests"
_UPSTREAM_ERRORS = "bridge_upstream_errors"
_DISCONNECTS = "bridge_client_disconnects"
_DROPPED = "bridge_dropped_parameters"
_ESTIMATED = "bridge_estimated_tokens"
_STORE_FAILURES = "bridge_session_store_failures"
_RELOADS = "bridge_reloads"
_LINES_DROPPED = "bridge_log_lines_dropped"
_DURATION = "gen_ai_server_request_duration_seconds"
_FIRST_TOKEN = "gen_ai_server_time_to_first_token_seconds"  # noqa: S105
_PER_TOKEN = "gen_ai_server_time_per_output_token_seconds"  # noqa: S105
_TOKENS = "gen_ai_client_token_usage"

_COUNTERS = {  # name: (help, labels)
    _REQUESTS: ("Responses to clients.", ("route", "endpoint", "code")),
    _UPSTREAM_ERRORS: ("Failures of upstreams.", ("route", "kind")),
    _DISCONNECTS: ("Clients that disconnected before their response was complete.", ("route",)),
    _DROPPED: ("Request parameters that neither the upstream nor an emulation uses.", ("route", "parameter")),
    _ESTIMATED: (
        "Tokens that the upstream did not count, estimated by the bridge (emulate.usage: estimate).",
        ("route", "gen_ai_token_type"),
    ),
    _STORE_FAILURES: ("Failures to reach the store of kept sessions.", ("route",)),
    _RELOADS: ("Reloads of the routes file.", ("result",)),
    _LINES_DROPPED: ("Lines of the log that were not written, since the reader of the log is too slow.", ()),
}

_GEN_AI = ("gen_ai_operation_name", "gen_ai_request_model", "error_type", "route")
_HISTOGRAMS = {  # name: (help, labels, buckets)
    _DURATION: (
        "Seconds from the request to the end of the response.",
        _GEN_AI,
        (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    ),
    _FIRST_TOKEN: (
        "Seconds from the request to the first output of a stream.",
        _GEN_AI,
        (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    ),
    _PER_TOKEN: (
        "Seconds for each token of a stream after the first.",
        _GEN_AI,
        (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
    ),
    _TOKENS: (
        "Tokens of a request and its response, as the upstream counts them.",
        (*_GEN_AI, "gen_ai_token_type"),
        tuple(4**power for power in range(14)),
    ),
}


class _Children(dict[tuple[str, ...], T], Generic[T]):
    """The children of one instrument by their label values: each is looked up under a lock only once."""

    def __init__(self, instrument: T) -> None:
        super().__init__()
        self._instrument = instrument

    def __missing__(self, labels: tuple[str, ...]) -> T:
        child: T = self._instrument.labels(*labels) if labels else self._instrument
        self[labels] = child
        return child


class Metrics:
    """The instruments of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # otherwise each counter has a second series
        self._registry = registry = CollectorRegistry()
        self._in_progress = _Children(
            Gauge(
                _IN_PROGRESS,
                "Requests in progress.",
                ("route",),
                multiprocess_mode="livesum",
                registry=registry,
            )
        )
        self._counters = {
            name: _Children(Counter(name, text, labels, registry=registry))
            for name, (text, labels) in _COUNTERS.items()
        }
        self._histograms = {
            name: _Children(Histogram(name, text, labels, buckets=buckets, registry=registry))
            for name, (text, labels, buckets) in _HISTOGRAMS.items()
        }

    def request_started(self, route: str) -> None:
        """Count a request as in progress."""
        self._in_progress[(route,)].inc()

    def request_ended(self, route: str) -> None:
        """Count a request as no longer in progress."""
        self._in_progress[(route,)].dec()

    def response_finished(
        self, route: str, endpoint: EndpointSpec, model: str, status: int, error_type: str, duration: float
    ) -> None:
        """Count a response of a route. `duration`: seconds from the request to the end of the response."""
        self._counters[_REQUESTS][route, endpoint.name, str(status)].inc()
        self._histograms[_DURATION][endpoint.operation, model, error_type, route].observe(duration)

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
            self._histograms[_FIRST_TOKEN][labels].observe(first)
        if usage is None:
            return
        prompt, completion = (min(n, _MAX_TOKENS) for n in (usage.prompt_tokens, usage.completion_tokens))
        if usage.estimated:  # estimates must not be mixed with counts
            self._counters[_ESTIMATED][route, "input"].inc(prompt)
            self._counters[_ESTIMATED][route, "output"].inc(completion)
            return
        self._histograms[_TOKENS][*labels, "input"].observe(prompt)
        if endpoint.has_output_tokens:
            self._histograms[_TOKENS][*labels, "output"].observe(completion)
        if first is not None and completion > 1:
            self._histograms[_PER_TOKEN][labels].observe((duration - first) / (completion - 1))

    def request_rejected(self, endpoint: str, status: int) -> None:
        """Count a request that was answered without a route."""
        self._counters[_REQUESTS]["", endpoint, str(status)].inc()

    def client_disconnected(self, route: str) -> None:
        """Count a client that disconnected before its response was complete."""
        self._counters[_DISCONNECTS][(route,)].inc()

    def upstream_failed(self, route: str, kind: str) -> None:
        """Count a failure of an upstream."""
        self._counters[_UPSTREAM_ERRORS][route, kind].inc()

    def parameters_dropped(self, route: str, parameters: Iterable[str]) -> None:
        """Count dropped parameters. One that OpenAI does not document is counted as `other`."""
        for parameter in parameters:
            self._counters[_DROPPED][route, parameter if parameter in PARAMETERS else "other"].inc()

    def store_failed(self, route: str) -> None:
        """Count a failure to reach the store of kept sessions."""
        self._counters[_STORE_FAILURES][(route,)].inc()

    def reloaded(self, result: str) -> None:
        """Count a reload of the routes file: `ok` or `rejected`."""
        self._counters[_RELOADS][(result,)].inc()

    def log_lines_dropped(self, number: int) -> None:
        """Count lines of the log that were not written."""
        self._counters[_LINES_DROPPED][()].inc(number)

    async def exposition(self) -> bytes:
        """Return the text for Prometheus, of all workers if there are several."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        for _ in range(_MAX_READS):
            with suppress(struct.error):  # the file of a worker that is starting is empty for a moment
                return generate_latest(registry)
            await asyncio.sleep(_READ_DELAY)
        return generate_latest(registry)
