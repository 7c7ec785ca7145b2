"""The metrics of the bridge: names, help texts, labels and buckets.

Label values come from the routes file, never from a client. The names and buckets of `gen_ai_*` follow
OpenTelemetry's semantic conventions for generative AI (1.37, metrics).
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = [
    "COUNTERS",
    "DISCONNECTS",
    "DROPPED",
    "DURATION",
    "ESTIMATED",
    "EVICTED",
    "FIRST_TOKEN",
    "GAUGES",
    "HISTOGRAMS",
    "IN_PROGRESS",
    "LINES_DROPPED",
    "PER_TOKEN",
    "RELOADS",
    "REQUESTS",
    "STORE_FAILURES",
    "TOKENS",
    "UPSTREAM_ERRORS",
    "UPSTREAM_RETRIES",
]


class Instrument(NamedTuple):
    """A gauge or a counter."""

    text: str  # the help text
    labels: tuple[str, ...]  # names


class HistogramInstrument(NamedTuple):
    """A histogram."""

    text: str  # the help text
    labels: tuple[str, ...]  # names
    bounds: tuple[float, ...]  # the largest values of all buckets but the last, which has no bound


IN_PROGRESS: Final = "bridge_requests_in_progress"
EVICTED: Final = "bridge_upstream_replicas_evicted"
REQUESTS: Final = "bridge_requests"
UPSTREAM_ERRORS: Final = "bridge_upstream_errors"
UPSTREAM_RETRIES: Final = "bridge_upstream_retries"
DISCONNECTS: Final = "bridge_client_disconnects"
DROPPED: Final = "bridge_dropped_parameters"
ESTIMATED: Final = "bridge_estimated_tokens"
STORE_FAILURES: Final = "bridge_session_store_failures"
RELOADS: Final = "bridge_reloads"
LINES_DROPPED: Final = "bridge_log_lines_dropped"
DURATION: Final = "gen_ai_server_request_duration_seconds"
FIRST_TOKEN: Final = "gen_ai_server_time_to_first_token_seconds"  # noqa: S105
PER_TOKEN: Final = "gen_ai_server_time_per_output_token_seconds"  # noqa: S105
TOKENS: Final = "gen_ai_client_token_usage"

GAUGES: Final = {
    IN_PROGRESS: Instrument("Requests in progress.", ("route",)),
    EVICTED: Instrument("Processes that send no requests to a replica.", ("route", "replica")),
}

COUNTERS: Final = {
    REQUESTS: Instrument("Responses to clients.", ("route", "endpoint", "code")),
    UPSTREAM_ERRORS: Instrument("Failures of upstreams.", ("route", "kind")),
    UPSTREAM_RETRIES: Instrument(
        "Upstream requests that were sent again, or to another replica.", ("route", "cause")
    ),
    DISCONNECTS: Instrument("Clients that disconnected before their response was complete.", ("route",)),
    DROPPED: Instrument(
        "Request parameters that neither the upstream nor an emulation uses.", ("route", "parameter")
    ),
    ESTIMATED: Instrument(
        "Tokens that the upstream did not count, estimated by the bridge (emulate.usage: estimate).",
        ("route", "gen_ai_token_type"),
    ),
    STORE_FAILURES: Instrument("Failures to reach the store of kept sessions.", ("route",)),
    RELOADS: Instrument("Reloads of the routes file.", ("result",)),
    LINES_DROPPED: Instrument(
        "Lines of the log that were not written, since the reader of the log is too slow.", ()
    ),
}

_GEN_AI = ("gen_ai_operation_name", "gen_ai_request_model", "error_type", "route")

HISTOGRAMS: Final = {
    DURATION: HistogramInstrument(
        "Seconds from the request to the end of the response.",
        _GEN_AI,
        (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    ),
    FIRST_TOKEN: HistogramInstrument(
        "Seconds from the request to the first output of a stream.",
        _GEN_AI,
        (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    ),
    PER_TOKEN: HistogramInstrument(
        "Seconds for each token of a stream after the first.",
        _GEN_AI,
        (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
    ),
    TOKENS: HistogramInstrument(
        "Tokens of a request and its response, as the upstream counts them.",
        (*_GEN_AI, "gen_ai_token_type"),
        tuple(float(4**power) for power in range(14)),
    ),
}
