"""The settings of the transport to an upstream, used as declared in the file (`upstream`)."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.config.container_types import ListOf, OneOrMany
from bridge.config.quantities import DURATION
from bridge.config.records import Record, option, record
from bridge.config.value_types import FLAG, TEXT, Integer, Keyword, Text

__all__ = ["METHOD", "PROXY", "URL", "RetrySpec", "TLSSpec", "TimeoutsSpec", "TransportSpec"]

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
