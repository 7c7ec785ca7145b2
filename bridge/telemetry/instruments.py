"""The metrics of the bridge: names, help texts, labels and buckets.

Label values come from the routes file, never from a client. The names of `gen_ai_*` and the bounds of their
buckets are those of OpenTelemetry's semantic conventions for generative AI (1.37, metrics).
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = [
    "BLOCK_SIZES", "COUNTERS", "DISCONNECTS", "DROPPED", "DURATION_HISTOGRAM", "ESTIMATED", "EVICTED",
    "FALLBACKS", "FIRST_TOKEN_HISTOGRAM", "GAUGES", "GEN_AI", "GEN_AI_LABELS", "HISTOGRAMS",
    "INPUT_TOKENS_HISTOGRAM", "IN_PROGRESS", "KEY_REQUESTS", "KEY_TOKENS", "LINES_DROPPED",
    "OUTPUT_TOKENS_HISTOGRAM", "PER_TOKEN_HISTOGRAM", "QUEUE_REJECTIONS", "RELOADS", "REQUESTS",
    "STORE_FAILURES", "UPSTREAM_ERRORS", "UPSTREAM_RETRIES", "WAITING", "Histogram",
]  # fmt: skip


class Instrument(NamedTuple):
    """A gauge or a counter."""

    text: str  # the help text
    labels: tuple[str, ...]  # names


class Histogram(NamedTuple):
    """A histogram: numbers in a block, with those of other histograms that have the same labels.

    The numbers are the observations in each bucket, the last of which has no bound, and the sum of what was
    observed.
    """

    name: str
    text: str  # the help text
    bounds: tuple[float, ...]  # the largest values of all buckets but the last
    start: int  # the place of the first bucket in the block
    label: tuple[tuple[str, str], ...] = ()  # a further label and its value

    @property
    def sum_at(self) -> int:
        """Return the place of the sum in the block."""
        return self.start + len(self.bounds) + 1


IN_PROGRESS: Final = "bridge_requests_in_progress"
EVICTED: Final = "bridge_upstream_replicas_evicted"
WAITING: Final = "bridge_requests_waiting"
REQUESTS: Final = "bridge_requests"
QUEUE_REJECTIONS: Final = "bridge_queue_rejections"
UPSTREAM_ERRORS: Final = "bridge_upstream_errors"
UPSTREAM_RETRIES: Final = "bridge_upstream_retries"
FALLBACKS: Final = "bridge_fallbacks"
DISCONNECTS: Final = "bridge_client_disconnects"
DROPPED: Final = "bridge_dropped_parameters"
ESTIMATED: Final = "bridge_estimated_tokens"
STORE_FAILURES: Final = "bridge_session_store_failures"
KEY_REQUESTS: Final = "bridge_key_requests"
KEY_TOKENS: Final = "bridge_key_tokens"
RELOADS: Final = "bridge_reloads"
LINES_DROPPED: Final = "bridge_log_lines_dropped"
DURATION: Final = "gen_ai_server_request_duration_seconds"
FIRST_TOKEN: Final = "gen_ai_server_time_to_first_token_seconds"  # noqa: S105
PER_TOKEN: Final = "gen_ai_server_time_per_output_token_seconds"  # noqa: S105
TOKENS: Final = "gen_ai_client_token_usage"

GAUGES: Final = {
    IN_PROGRESS: Instrument("Requests in progress.", ("route",)),
    WAITING: Instrument("Requests that wait for others to finish (limits.concurrency).", ("route",)),
    EVICTED: Instrument("Processes that send no requests to a replica.", ("route", "replica")),
}

COUNTERS: Final = {
    REQUESTS: Instrument("Responses to clients.", ("route", "endpoint", "code")),
    QUEUE_REJECTIONS: Instrument(
        "Requests that were rejected since the queue is full, or after timeouts.queue.", ("route", "reason")
    ),
    UPSTREAM_ERRORS: Instrument("Failures of upstreams.", ("route", "kind")),
    UPSTREAM_RETRIES: Instrument(
        "Upstream requests that were sent again, or to another replica.", ("route", "cause")
    ),
    FALLBACKS: Instrument(
        "Requests that failed on their route and were sent to its fallback.", ("route", "fallback")
    ),
    DISCONNECTS: Instrument("Clients that disconnected before their response was complete.", ("route",)),
    DROPPED: Instrument(
        "Request parameters that neither the upstream nor an emulation uses.", ("route", "parameter")
    ),
    ESTIMATED: Instrument(
        "Tokens that the upstream did not count, estimated by the bridge.",
        ("route", "gen_ai_token_type"),
    ),
    KEY_REQUESTS: Instrument("Responses to the clients of a named key.", ("key", "code")),
    KEY_TOKENS: Instrument(
        "Tokens of the clients of a named key, counted by the upstream or estimated.",
        ("key", "gen_ai_token_type"),
    ),
    STORE_FAILURES: Instrument("Failures to reach the store of kept sessions.", ("route",)),
    RELOADS: Instrument("Reloads of the routes file.", ("result",)),
    LINES_DROPPED: Instrument(
        "Lines of the log that were not written, since the reader of the log is too slow.", ()
    ),
}

GEN_AI: Final = "gen_ai"
"""The name of the block of all histograms."""
GEN_AI_LABELS: Final = ("gen_ai_operation_name", "gen_ai_request_model", "error_type", "route")

# Each bucket is a series of each route, operation and error type, and there may be 5,000 routes: these are
# the bounds of OpenTelemetry without those that are too fine for model servers.
_DURATION_BOUNDS = (0.08, 0.32, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST_TOKEN_BOUNDS = (0.04, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PER_TOKEN_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0)
_TOKEN_BOUNDS = tuple(float(4**power) for power in range(2, 11))
_TOKEN_TEXT = "Tokens of a request and its response, as the upstream counts them."  # noqa: S105

DURATION_HISTOGRAM: Final = Histogram(
    DURATION, "Seconds from the request to the end of the response.", _DURATION_BOUNDS, 0
)
FIRST_TOKEN_HISTOGRAM: Final = Histogram(
    FIRST_TOKEN,
    "Seconds from the request to the first output of a stream.",
    _FIRST_TOKEN_BOUNDS,
    DURATION_HISTOGRAM.sum_at + 1,
)
PER_TOKEN_HISTOGRAM: Final = Histogram(
    PER_TOKEN,
    "Seconds for each token of a stream after the first.",
    _PER_TOKEN_BOUNDS,
    FIRST_TOKEN_HISTOGRAM.sum_at + 1,
)
INPUT_TOKENS_HISTOGRAM: Final = Histogram(
    TOKENS, _TOKEN_TEXT, _TOKEN_BOUNDS, PER_TOKEN_HISTOGRAM.sum_at + 1, (("gen_ai_token_type", "input"),)
)
OUTPUT_TOKENS_HISTOGRAM: Final = Histogram(
    TOKENS, _TOKEN_TEXT, _TOKEN_BOUNDS, INPUT_TOKENS_HISTOGRAM.sum_at + 1, (("gen_ai_token_type", "output"),)
)

HISTOGRAMS: Final = (
    (DURATION_HISTOGRAM,),
    (FIRST_TOKEN_HISTOGRAM,),
    (PER_TOKEN_HISTOGRAM,),
    (INPUT_TOKENS_HISTOGRAM, OUTPUT_TOKENS_HISTOGRAM),
)
"""The histograms by name."""

BLOCK_SIZES: Final = {**dict.fromkeys((*GAUGES, *COUNTERS), 1), GEN_AI: OUTPUT_TOKENS_HISTOGRAM.sum_at + 1}
"""The number of numbers for each combination of label values, by the name of an instrument or block."""
