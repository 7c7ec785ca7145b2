"""Settings that rules use as declared in the file: transport, limits, emulation and samples.

Their classes declare keys of the file like those in `routes/spec`, and are attributes of a `Route` too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.config.container_types import ListOf, MapOf, OneOrMany
from bridge.config.quantities import DURATION, SIZE
from bridge.config.records import Record, option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import ANY, FLAG, TEXT, Integer, Keyword, Text
from bridge.openai.endpoints import ENDPOINTS

__all__ = [
    "ABSENT", "METHOD", "PROXY", "URL", "EmulateSpec", "LimitsSpec", "RetrySpec", "SampleSpec", "TLSSpec",
    "TimeoutsSpec", "TransportSpec",
]  # fmt: skip

# The default of keys for which null or false is a value of its own.
ABSENT = "absent"

METHOD = Keyword(("GET", "POST", "PUT", "PATCH", "DELETE"))
ORIGIN = Text(
    "an origin, such as http://127.0.0.1:8000",
    pattern=r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]{}]+)(:\d{1,5})?/?",
)
URL = Text("a URL, such as http://127.0.0.1:8000/api/chat")
PROXY = Text(
    "the URL of an HTTP proxy, such as http://127.0.0.1:3128; an empty string for none",
    pattern=r"(https?://([^\s/?#@]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(:\d{1,5})?/?)?",
)


@record
class TimeoutsSpec:
    """Timeouts of an upstream call, in seconds."""

    connect: float = option(
        DURATION, "the longest time until the connection is established, TLS included", default=10.0
    )
    first_byte: float = option(
        DURATION, "the longest time from the end of the request to the response's headers", default=300.0
    )
    idle: float = option(DURATION, "the longest time between two reads of the response", default=120.0)
    total: float | None = option(
        DURATION, "the longest time for the whole call; if absent: no limit", default=None
    )

    @property
    def response(self) -> float:
        """Return how long a non-streaming response may take: the member `timeout` of the request document."""
        seconds = self.first_byte if self.total is None else min(self.first_byte, self.total)
        return int(seconds) if seconds == int(seconds) else seconds


@dataclass(frozen=True)  # not a record: TLS contexts and connections are cached by it
class TLSSpec:
    """Verification of the upstream's certificate, and the bridge's own certificate."""

    verify: bool = option(FLAG, "whether the upstream's certificate is verified", default=True)
    ca: str | None = option(
        TEXT, "a PEM file of trusted certificates, in place of the system's", default=None
    )
    cert: str | None = option(TEXT, "the bridge's own certificate, a PEM file", default=None)
    private_key: str | None = option(
        TEXT, "the private key of that certificate, a PEM file", default=None, key="key"
    )
    server_name: str | None = option(
        TEXT, "the name expected in the upstream's certificate; if absent: the URL's host", default=None
    )


@record
class RetrySpec:
    """The retries of a failed request."""

    attempts: int = option(
        Integer(0, 10), "how many times a request is sent again", default=2, aliases=["retries"]
    )
    on: tuple[str, ...] = option(
        ListOf(Keyword(("connect", "disconnect", "timeout", "429", "500", "502", "503", "504"))),
        "the failures worth a retry: no connection, closed before a response, a timeout, or these statuses",
        default=("connect", "disconnect", "429", "502", "503", "504"),
    )
    backoff: float = option(
        DURATION, "the delay before the first retry; doubled for each further retry", default=0.2
    )


@record
class TransportSpec:
    """The transport to an upstream."""

    url: str | None = option(URL, "the URL, used exactly as written; a template", default=None)
    method: str | None = option(METHOD, "the HTTP method; if absent: POST", default=None)
    timeouts: TimeoutsSpec = option(Record(TimeoutsSpec), "the timeouts of a call", default=TimeoutsSpec())
    tls: TLSSpec = option(Record(TLSSpec), "the certificates of https and wss", default=TLSSpec())
    proxy: str | None = option(PROXY, "a forward proxy for requests; if absent or empty: none", default=None)
    retry: RetrySpec | None = option(
        Record(RetrySpec), "when to send a failed request again; if absent: never", default=None
    )
    replicas: tuple[str, ...] = option(
        ListOf(URL, min_items=1), "further URLs of the same upstream; requests go to all in turn", default=()
    )
    url_origins: tuple[str, ...] = option(
        OneOrMany(ORIGIN),
        "further origins that a URL out of a response may lead to; if absent: those of the route's own URLs",
        default=(),
    )


@record
class LimitsSpec:
    """Limits of a route: sizes in bytes, and numbers of requests."""

    body: int = option(SIZE, "a client's request body; beyond the limit: 413", default=32 * 2**20)
    frame: int = option(SIZE, "one frame of a stream; beyond the limit: 502", default=8 * 2**20)
    answer: int = option(SIZE, "one upstream response; beyond the limit: 502", default=64 * 2**20)
    concurrency: int = option(Integer(0), "requests of the route in progress at once; 0: no limit", default=0)
    queue: int = option(
        Integer(0), "requests that may wait for `concurrency`; the next request gets a 429", default=100
    )
    calls: int = option(
        Integer(1), "upstream calls of one request: prompts times `n`; beyond the limit: 400", default=128
    )
    inputs: int = option(
        Integer(1), "inputs of one request for embeddings; beyond the limit: 400", default=2048
    )
    messages: int = option(Integer(1), "messages of one request; beyond the limit: 400", default=10_000)
    tools: int = option(Integer(1), "tools of one request; beyond the limit: 400", default=1024)
    stops: int = option(Integer(1), "stop strings of one request; beyond the limit: 400", default=64)
    values: int = option(
        Integer(1),
        "JSON values of a client's body, and four times as many of an upstream response; commas and "
        "opening brackets are counted",
        default=1_000_000,
    )

    @property
    def response_values(self) -> int:
        """Return the limit of JSON values in an upstream response."""
        return 4 * self.values


@record
class EmulateSpec:
    """Features of OpenAI's API that the bridge provides in place of the upstream."""

    stop: bool = option(
        FLAG, "cuts the text at stop strings that the upstream request does not contain", default=True
    )
    n: bool = option(FLAG, "makes `n` calls if the upstream returns one choice per call", default=True)
    batch: int | None = option(
        Integer(1), "the number of inputs in one call for embeddings; if absent: all", default=None
    )
    usage: str = option(
        Keyword(("off", "estimate")),
        "token counts if the upstream sends none: none, or estimates that are marked as such",
        default="off",
    )


@record
class SampleSpec:
    """An example of a request and its response."""

    request: Any = option(ANY, "the client's body; `model` defaults to the route's first model")
    endpoint: str = option(Keyword(ENDPOINTS), "the endpoint that the client calls", default="chat")
    sends: Any = option(ANY, "the body that must be sent upstream, exactly", default=ABSENT)
    url: str | None = option(TEXT, "the URL that must be requested", default=None)
    headers: dict[str, str] = option(
        MapOf(Text(lenient=True)), "headers that must be sent", default=None, secret=EXTERNAL
    )
    receives: Any = option(
        ANY,
        "the upstream's response: JSON, the raw text of a stream, or a list of websocket messages",
        default=ABSENT,
    )
    status: int = option(Integer(100, 599), "the HTTP status of that response", default=200)
    response_headers: dict[str, str] = option(
        MapOf(Text(lenient=True)), "the headers of that response", default=None, secret=EXTERNAL
    )
    answers: Any = option(
        ANY,
        "what the client must get: the text, the vector, the image's URL, or members of the response",
        default=ABSENT,
    )
