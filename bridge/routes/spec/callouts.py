"""The keys of callouts: `session`, `calls`, `poll` and `cancel`."""

from __future__ import annotations

from typing import Any

from bridge.config.container_types import AnyOf, MapOf
from bridge.config.quantities import DURATION
from bridge.config.records import Record, option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import TEXT, Integer, Keyword, Text
from bridge.core.addresses import PORT_PATTERN
from bridge.routes.rules.settings import ABSENT
from bridge.routes.rules.transport import METHOD
from bridge.routes.spec.value_types import BODY, CONDITION, HEADERS, QUERY, REQUEST_CONDITION, SLOT

__all__ = ["CallSpec", "FoundByHeaderSpec", "OpenSpec", "PollSpec", "SessionSpec", "ValuesSpec"]

_STORE = Text(
    "memory, or the URL of a Redis, such as redis://127.0.0.1:6379/0",
    pattern=r"memory|rediss?://([^\s/?#@]*@)?([^\s/?#@:\[\]]+|\[[0-9A-Fa-f:]+\])(:"
    + PORT_PATTERN
    + r")?(/\d*)?",
)


@record
class CallSpec:
    """A callout."""

    url: str | None = option(
        TEXT, "a whole URL, or a path into the newest response of a callout", default=None
    )
    path: str | None = option(TEXT, "a path on the route's upstream", default=None)
    method: str | None = option(
        METHOD, "the HTTP method; if absent: POST with a `body`, else GET", default=None
    )
    headers: dict[str, Any] = option(
        HEADERS, "headers, added to those of the route", default=None, secret=EXTERNAL
    )
    query: dict[str, Any] = option(QUERY, "query parameters", default=None, secret=EXTERNAL)
    body: Any = option(BODY, "the body, a template; if absent: no body", default=ABSENT)
    when: Any = option(
        REQUEST_CONDITION,
        "a condition on the request document, such as {$.stream: false}; if absent: always made",
        default=None,
    )


@record
class PollSpec(CallSpec):
    """A callout that is repeated until its response fulfils a condition."""

    until: Any = option(CONDITION, "a condition on the response that ends the repetition", default=None)
    every: float = option(
        DURATION, "the first delay between two calls; it grows to ten times this value", default=0.5
    )
    timeout: float = option(DURATION, "the total time", default=300.0)


@record
class ValuesSpec(PollSpec):
    """A callout before the response, whose values join the request document."""

    values: dict[str, Any] = option(
        MapOf(SLOT), "members that join the request document, read from the response", default=None
    )


@record
class OpenSpec(CallSpec):
    """The callout that opens a session."""

    id: Any = option(
        SLOT, "where the session's id is in the response; the member `session` from then on", default=None
    )


@record
class FoundByHeaderSpec:
    """The client's header by which a kept session is found."""

    header: str = option(TEXT, "the client's header that names the conversation")


@record
class SessionSpec:
    """A session of the upstream."""

    open: OpenSpec | None = option(Record(OpenSpec), "the callout that opens the session", default=None)
    id: Any = option(SLOT, "without `open`: where the id is in the response itself", default=None)
    close: CallSpec | None = option(Record(CallSpec), "the callout that closes the session", default=None)
    keep: str = option(
        Keyword(("request", "conversation")),
        "a session for each request, or a session that is kept for the next turn",
        default="request",
    )
    by: Any = option(
        AnyOf(Keyword(("transcript", "user")), Record(FoundByHeaderSpec)),
        "how a kept session is found: by all messages so far, the client's `user`, or a header",
        default="transcript",
    )
    ttl: float = option(DURATION, "how long a kept session may be idle before it is closed", default=1800.0)
    most: int = option(
        Integer(1),
        "how many sessions are kept; when more are kept, the one idle for longest is closed",
        default=1000,
        aliases=["max"],
    )
    store: str = option(_STORE, "where sessions are kept; all bridges may share a Redis", default="memory")
