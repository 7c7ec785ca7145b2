"""The calls around an answer: sessions, calls ahead of it, polling, and what is sent when nobody waits."""

from __future__ import annotations

from typing import Any

from bridge.config.container_types import AnyOf, MapOf
from bridge.config.quantities import DURATION
from bridge.config.records import Record, option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import TEXT, Integer, Keyword, Text
from bridge.routes.rules.settings import ABSENT, METHOD
from bridge.routes.spec.requests import HEADERS
from bridge.routes.spec.value_types import BODY, CONDITION, REQUEST_CONDITION, SLOT

__all__ = ["CallSpec", "OpenSpec", "PollSpec", "SessionSpec", "ValuesSpec"]

_STORE = Text(
    "memory, or the URL of a Redis, such as redis://127.0.0.1:6379/0",
    pattern=r"memory|rediss?://([^\s/?#@]*@)?([^\s/?#@:\[\]]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?(/\d*)?",
)


@record
class CallSpec:
    url: str | None = option(TEXT, "the whole URL", default=None)
    path: str | None = option(TEXT, "a path on the route's upstream", default=None)
    method: str | None = option(METHOD, "the HTTP method; else POST with a body, GET without", default=None)
    headers: dict[str, Any] = option(
        HEADERS, "headers, over those of the route", default=None, secret=EXTERNAL
    )
    query: dict[str, Any] = option(HEADERS, "query parameters", default=None, secret=EXTERNAL)
    body: Any = option(BODY, "the body, a template", default=ABSENT)
    when: Any = option(
        REQUEST_CONDITION, "requests for which it is made, such as {$.stream: false}", default=None
    )


@record
class PollSpec(CallSpec):
    until: Any = option(CONDITION, "asked again until this holds of its answer", default=None)
    every: float = option(DURATION, "the first pause between two; they grow to ten times this", default=0.5)
    timeout: float = option(DURATION, "how long at most", default=300.0)


@record
class ValuesSpec(PollSpec):
    values: dict[str, Any] = option(
        MapOf(SLOT), "members of the request document from then on, read from its answer", default=None
    )


@record
class OpenSpec(CallSpec):
    id: Any = option(
        SLOT, "where the session's id is in the answer; the member `session` from then on", default=None
    )


@record
class FoundByHeaderSpec:
    header: str = option(TEXT, "the client's header that names the conversation")


@record
class SessionSpec:
    open: OpenSpec | None = option(Record(OpenSpec), "the call that opens a session", default=None)
    id: Any = option(SLOT, "without `open`: where the id is in the answer itself", default=None)
    close: CallSpec | None = option(Record(CallSpec), "the call that closes it", default=None)
    keep: str = option(
        Keyword(("request", "conversation")),
        "how long: opened and closed around each answer, or found again by the next turn",
        default="request",
    )
    by: Any = option(
        AnyOf(Keyword(("transcript", "user")), Record(FoundByHeaderSpec)),
        "what a kept session is found by: all that was said so far, the client's `user`, or a header",
        default="transcript",
    )
    ttl: float = option(DURATION, "how long a kept session may idle until it is closed", default=1800.0)
    most: int = option(
        Integer(1),
        "how many are kept; the one that has idled longest makes room",
        default=1000,
        aliases=["max"],
    )
    store: str = option(_STORE, "where they are kept; a Redis is shared by all bridges", default="memory")
