"""What Prometheus is told. Label values come from the table of routes, never from a client.

Names and buckets of `gen_ai_*` are OpenTelemetry's semantic conventions for generative AI (1.37, metrics).
"""

from __future__ import annotations

import asyncio
import os
import struct
from bisect import bisect_left
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

from bridge.openai.endpoints import PARAMETERS

if TYPE_CHECKING:
    from bridge.core.deltas import Usage
    from bridge.openai.endpoint_spec import EndpointSpec

__all__ = ["Metrics", "RouteMetrics"]

T = TypeVar("T", bound=MetricWrapperBase)

_READ_RETRIES, _PAUSE = 50, 0.02  # seconds between two looks at the files of other workers
_DURATIONS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST_TOKENS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = tuple(4**power for power in range(14))

_GEN_AI = ("gen_ai_operation_name", "gen_ai_request_model", "error_type", "route")


class _LabelCache(Generic[T]):
    """The children of one instrument: each is looked up under the instrument's lock once only."""

    __slots__ = ("_children", "_instrument")

    def __init__(self, instrument: T) -> None:
        self._instrument: T = instrument
        self._children: dict[tuple[str, ...], T] = {}

    def __call__(self, *labels: str) -> T:
        """The child of these labels, whose number the table of routes bounds."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._instrument.labels(*labels)
        return child


class _BatchHistogram(Histogram):
    """A histogram that takes what several requests took at once: its locks are then taken once for all.

    It knows three names of its base's own. Tested with the prometheus-client that requirements.lock names.
    """

    def observe_all(self, amounts: list[float]) -> None:
        """Observe all of these amounts."""
        counts: dict[int, int] = {}
        for amount in amounts:
            at = bisect_left(self._upper_bounds, amount)
            counts[at] = counts.get(at, 0) + 1
        self._sum.inc(sum(amounts))
        for at, number in counts.items():
            self._buckets[at].inc(number)


class RouteMetrics:
    """What is told of the answers to one model at one endpoint of one route.

    `in_progress`: how many requests are being answered.
    """

    __slots__ = (
        "_answers", "_durations", "_gauge", "_has_output_tokens", "_labels", "_metrics", "_shown", "endpoint",
        "in_progress", "route",
    )  # fmt: skip

    def __init__(self, metrics: Metrics, route: str, endpoint: EndpointSpec, model: str) -> None:
        self._metrics = metrics
        self._gauge = metrics.in_progress(route)
        self._shown = self.in_progress = 0
        self._answers: dict[int, int] = {}
        self._durations: dict[str, list[float]] = {}
        self._labels = (endpoint.operation, model)
        self._has_output_tokens = endpoint.has_output_tokens
        self.route = route
        self.endpoint = endpoint.name

    def flush(self) -> None:
        """Show how many were answered, and how many are in progress now."""
        if self._answers:
            for status, number in self._answers.items():
                self._metrics.requests(self.route, self.endpoint, str(status)).inc(number)
            for kind, durations in self._durations.items():
                self._metrics.duration(*self._labels, kind, self.route).observe_all(durations)
            self._answers.clear()
            self._durations.clear()
        if self.in_progress != self._shown:
            self._gauge.inc(self.in_progress - self._shown)
            self._shown = self.in_progress

    def client_disconnected(self) -> None:
        """The client left."""
        self._metrics.disconnects(self.route).inc()

    def upstream_failed(self, kind: str) -> None:
        """The model server failed."""
        self._metrics.failed(self.route, kind)

    def dropped(self, parameters: tuple[str, ...]) -> None:
        """Parameters were dropped; one that OpenAI does not document is `other`."""
        for parameter in parameters:
            self._metrics.dropped(self.route, parameter if parameter in PARAMETERS else "other").inc()

    def observe_request(
        self, status: int, kind: str, duration: float, first: float | None, usage: Usage | None
    ) -> None:
        """A request has had its answer: `kind` says what failed, "" if nothing did.

        `duration` and, of a stream, its `first` output are in seconds from the request. What is only counted
        is told when all settles.
        """
        self._answers[status] = self._answers.get(status, 0) + 1
        self._durations.setdefault(kind, []).append(duration)
        if usage is not None or first is not None:
            self._metrics.observe(
                (*self._labels, kind, self.route), duration, first, usage, outputs=self._has_output_tokens
            )


class Metrics:
    """The instruments of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each counter, which nobody asks for
        self._registry = registry = CollectorRegistry()
        self._series: dict[tuple[str, str, str], RouteMetrics] = {}
        counter = partial(Counter, registry=registry)
        self.requests = _LabelCache(
            counter("bridge_requests", "Requests answered.", ("route", "endpoint", "code"))
        )
        self.in_progress = _LabelCache(Gauge(
            "bridge_requests_in_progress", "Requests being answered.",
            ("route",), registry=registry, multiprocess_mode="livesum",
        ))  # fmt: skip
        self.errors = _LabelCache(
            counter("bridge_upstream_errors", "Failures of model servers.", ("route", "kind"))
        )
        self.disconnects = _LabelCache(counter(
            "bridge_client_disconnects", "Clients that left before their answer was over.", ("route",),
        ))  # fmt: skip
        self.dropped = _LabelCache(counter(
            "bridge_dropped_parameters", "Parameters that reached neither the server nor an emulation.",
            ("route", "parameter"),
        ))  # fmt: skip
        self._estimated = _LabelCache(counter(
            "bridge_estimated_tokens",
            "Tokens that no server counted, by a rule of thumb (emulate.usage: estimate).",
            ("route", "gen_ai_token_type"),
        ))  # fmt: skip
        self._stores = _LabelCache(counter(
            "bridge_session_store_failures", "Times the store of kept sessions could not be reached.",
            ("route",),
        ))  # fmt: skip
        self._reloads = _LabelCache(counter("bridge_reloads", "Reloads of the table.", ("result",)))
        self.duration = _LabelCache(_BatchHistogram(
            "gen_ai_server_request_duration_seconds", "From the request to the end of its answer.",
            _GEN_AI, buckets=_DURATIONS, registry=registry,
        ))  # fmt: skip
        self._first = _LabelCache(Histogram(
            "gen_ai_server_time_to_first_token_seconds", "From the request to the first output of a stream.",
            _GEN_AI, buckets=_FIRST_TOKENS, registry=registry,
        ))  # fmt: skip
        self._per_token = _LabelCache(Histogram(
            "gen_ai_server_time_per_output_token_seconds", "Between two tokens of a stream after the first.",
            _GEN_AI, buckets=_PER_TOKEN, registry=registry,
        ))  # fmt: skip
        self._tokens = _LabelCache(Histogram(
            "gen_ai_client_token_usage", "Tokens, as the servers count them.",
            (*_GEN_AI, "gen_ai_token_type"), buckets=_TOKENS, registry=registry,
        ))  # fmt: skip

    def series(self, route: str, endpoint: EndpointSpec, model: str) -> RouteMetrics:
        """What is told of the answers to a model, by the table's word for it."""
        key = (route, endpoint.name, model)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = RouteMetrics(self, route, endpoint, model)
        return series

    def settle(self) -> None:
        """Show what each series has counted by itself."""
        for series in self._series.values():
            series.flush()

    def request_rejected(self, endpoint: str, status: int) -> None:
        """A request was answered without a route."""
        self.requests("", endpoint, str(status)).inc()

    def failed(self, route: str, kind: str) -> None:
        """A model server failed."""
        self.errors(route, kind).inc()

    def store_failed(self, route: str) -> None:
        """The store of kept sessions could not be reached."""
        self._stores(route).inc()

    def reloaded(self, result: str) -> None:
        """The file was read again: `ok` or `rejected`."""
        self._reloads(result).inc()

    def observe(
        self,
        labels: tuple[str, str, str, str],
        duration: float,
        first: float | None,
        usage: Usage | None,
        *,
        outputs: bool,
    ) -> None:
        """What only some answers tell: their tokens and, of a stream, when its `first` output came."""
        route = labels[-1]
        if usage is not None and usage.estimated:
            self._estimated(route, "input").inc(usage.prompt_tokens)
            self._estimated(route, "output").inc(usage.completion_tokens)
            usage = None  # true counts are never mixed with these
        if usage is not None:
            self._tokens(*labels, "input").observe(usage.prompt_tokens)
            if outputs:
                self._tokens(*labels, "output").observe(usage.completion_tokens)
        if first is None:
            return
        self._first(*labels).observe(first)
        if usage is not None and usage.completion_tokens > 1:
            self._per_token(*labels).observe((duration - first) / (usage.completion_tokens - 1))

    async def exposition(self) -> bytes:
        """The text that Prometheus reads: of all workers where there are several."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        for _ in range(_READ_RETRIES):
            with suppress(struct.error):  # a file that a worker is just making is still empty
                return generate_latest(registry)
            await asyncio.sleep(_PAUSE)
        return generate_latest(registry)
