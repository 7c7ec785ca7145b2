"""The settings of the transport to an upstream, used as declared in the file (`upstream`)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bridge.config.container_types import ListOf, OneOrMany
from bridge.config.quantities import DURATION, PERCENT
from bridge.config.records import Record, Shorthand, option, record
from bridge.config.value_types import FLAG, TEXT, Integer, Keyword, Text
from bridge.core.addresses import PORT_PATTERN

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.rules.proxies import EnvironmentProxies

__all__ = [
    "CAUSE",
    "METHOD",
    "PROXY",
    "PROXY_URL",
    "URL",
    "ConnectionsSpec",
    "EvictSpec",
    "ReplicaSpec",
    "RetrySpec",
    "TLSSpec",
    "TimeoutsSpec",
    "TransportSpec",
]

METHOD = Keyword(("GET", "POST", "PUT", "PATCH", "DELETE"))
ORIGIN = Text(
    "an origin, such as http://127.0.0.1:8000",
    pattern=r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]{}]+)(:" + PORT_PATTERN + r")?/?",
)
URL = Text("a URL, such as http://127.0.0.1:8000/api/chat")
PROXY_URL = r"https?://([^\s/?#@]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(:" + PORT_PATTERN + r")?/?"
PROXY = Text(
    "the URL of an HTTP proxy, such as http://127.0.0.1:3128; environment, or none (an empty string too)",
    pattern=rf"({PROXY_URL}|environment|none)?",
)


class Cause(Keyword):
    """A cause of a failure: a word, or the status of an error response."""

    def __init__(self, words: tuple[str, ...]) -> None:
        super().__init__(words)
        self.expected += ", or a status such as 503"

    def accepts(self, node: Node) -> bool:
        return super().accepts(node) or self._is_status(node.value)

    def read(self, node: Node, problems: Problems) -> Any:
        return str(node.value) if self._is_status(node.value) else super().read(node, problems)

    def schema(self) -> dict[str, Any]:
        status = {"type": ["integer", "string"], "pattern": "^[45][0-9]{2}$", "minimum": 400, "maximum": 599}
        return {"anyOf": [super().schema(), status]}

    def _is_status(self, value: Any) -> bool:
        return isinstance(value, int | str) and re.fullmatch("[45][0-9]{2}", str(value)) is not None


CAUSE = Cause(("connect", "reset", "disconnect", "timeout", "5xx"))


@record
class TimeoutsSpec:
    """Timeouts of an upstream call, in seconds."""

    queue: float = option(
        DURATION, "the longest time that a request waits for `limits.concurrency`", default=30.0
    )
    connect: float = option(
        DURATION, "the longest time until the connection is established, TLS included", default=10.0
    )
    first_byte: float = option(
        DURATION, "the longest time from the end of the request to the response's headers", default=300.0
    )
    send: float = option(
        DURATION, "the longest time in which the upstream accepts nothing of a request", default=60.0
    )
    first_token: float | None = option(
        DURATION,
        "the longest time from a request to the first output of a stream; if absent: no limit",
        default=None,
    )
    idle: float = option(DURATION, "the longest time between two reads of the response", default=120.0)
    total: float | None = option(
        DURATION, "the longest time for the whole call; if absent: no limit", default=None
    )

    @cached_property
    def until_head(self) -> float:
        """Return the shortest timeout of a request whose response has not begun."""
        return min(self.first_byte, self.send)

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
        ListOf(CAUSE),
        "the failures worth a retry: `connect` (nothing was sent), `reset` and `disconnect` (the connection "
        "ended before the response), `timeout`, a status, or `5xx`",
        default=("connect", "429", "502", "503"),
    )
    backoff: float = option(
        DURATION, "the delay before the first retry; doubled for each further retry", default=0.2
    )
    max_wait: float = option(
        DURATION,
        "the longest delay that a response's `Retry-After` may request; beyond: no retry",
        default=10.0,
    )
    budget: float = option(
        PERCENT,
        "the most retries, as a share of the route's recent requests; one a second may always be made",
        default=0.2,
    )


@record
class ConnectionsSpec:
    """The connections to an upstream."""

    max_age: float = option(
        DURATION, "the age at which a connection gets no further requests", default=3600.0
    )
    idle: float = option(
        DURATION,
        "how long a connection is kept without a request, unless the upstream announces its own time "
        "(`Keep-Alive: timeout=…`)",
        default=4.0,
    )
    keepalive: float = option(
        DURATION,
        "the silence on a connection after which TCP probes whether the upstream still exists; 0: never",
        default=60.0,
    )


@record
class WaitSpec:
    """The time for which requests are held for an upstream that is not ready."""

    duration: float = option(DURATION, "how long a request is held", default=180.0, key="for")
    on: tuple[str, ...] = option(
        ListOf(CAUSE),
        "the failures by which the upstream shows that it is not ready",
        default=("connect", "503"),
    )


@record
class EvictSpec:
    """When a replica gets no requests for a while."""

    after: int = option(Integer(1), "the failures in a row after which a replica is evicted", default=3)
    duration: float = option(
        DURATION,
        "how long it gets no requests; the first request after that decides whether it gets more",
        default=30.0,
        key="for",
    )


@record
class ReplicaSpec:
    """One more server of the same upstream."""

    url: str = option(URL, "the URL, used exactly as written; a template")
    weight: int = option(Integer(1, 1000), "the share of requests; `upstream.url` has 1", default=1)


@record
class TransportSpec:
    """The transport to an upstream."""

    url: str | None = option(URL, "the URL, used exactly as written; a template", default=None)
    method: str | None = option(METHOD, "the HTTP method; if absent: POST", default=None)
    timeouts: TimeoutsSpec = option(Record(TimeoutsSpec), "the timeouts of a call", default=TimeoutsSpec())
    tls: TLSSpec = option(Record(TLSSpec), "the certificates of https and wss", default=TLSSpec())
    connections: ConnectionsSpec = option(
        Record(ConnectionsSpec), "how long connections are used", default=ConnectionsSpec()
    )
    proxy: str | EnvironmentProxies | None = option(
        PROXY,
        "a forward proxy for requests; `environment`: the one that HTTP_PROXY, HTTPS_PROXY and NO_PROXY "
        "name; if absent: none",
        default=None,
    )
    retry: RetrySpec | None = option(
        Record(RetrySpec), "when to send a failed request again; if absent: never", default=None
    )
    wait: WaitSpec | None = option(
        Record(WaitSpec),
        "how long requests are held for a server that is still loading; if absent: not at all",
        default=None,
    )
    replicas: tuple[ReplicaSpec, ...] = option(
        ListOf(Shorthand(Record(ReplicaSpec), "url", URL, f"{URL.expected}, or a mapping"), min_items=1),
        "further servers of the same upstream: URLs, or mappings with `url` and `weight`",
        default=(),
    )
    balance: str = option(
        Keyword(("in-turn", "least-busy")),
        "which replica gets a request: the next one, or the one with the fewest requests in progress",
        default="in-turn",
    )
    evict: EvictSpec | None = option(
        Record(EvictSpec),
        "when a replica that fails gets no requests for a while; if absent: never",
        default=None,
    )
    url_origins: tuple[str, ...] = option(
        OneOrMany(ORIGIN),
        "further origins that a URL out of a response may lead to; if absent: those of the route's own URLs",
        default=(),
    )

    def with_first_byte(self, seconds: float) -> TransportSpec:
        """Return this transport with a `timeouts.first_byte` of at most some seconds."""
        first_byte = min(self.timeouts.first_byte, seconds)
        return replace(self, timeouts=replace(self.timeouts, first_byte=first_byte))

    @cached_property
    def resends(self) -> bool:
        """Return whether a request may be sent again to the same server."""
        return self.retry is not None or self.wait is not None
