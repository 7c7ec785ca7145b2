"""Requests to a server: what is sent, the templates that they are made by, and the calls around an answer.

Outgoing ─▶ make_request(outgoing, request document, body, headers) ─▶ UpstreamRequest
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.core.errors import RequestError
from bridge.core.urls import append_query, encode_query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.expressions.conditions import Condition
    from bridge.expressions.extractors import Extractor
    from bridge.expressions.scope import Scope
    from bridge.expressions.templates import ValueTemplate
    from bridge.routes.rules.auth_rules import DynamicAuth
    from bridge.routes.rules.body_rules import BodyRule

__all__ = ["Callout", "RequestTemplate", "SessionRule", "UpstreamRequest", "make_request", "origin"]


@dataclass(slots=True)
class UpstreamRequest:
    """One HTTP request to send. `urls`: the same at each replica; header names as they were written.

    `auth`: the credential that is made for it when it is sent. `websocket`: it is the first message on one,
    whose messages have at most so many bytes.
    """

    method: str
    urls: tuple[str, ...]
    headers: Mapping[str, str]
    body: bytes | None
    auth: DynamicAuth | None = None
    websocket: int | None = None


def origin(url: str) -> str | None:
    """Scheme, host and port of a URL; None where it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname and port else None


_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class RequestTemplate:
    """How a request is made: templates of its parts over the request document.

    `keys` and `key_query` show the server's key, `auth` makes one. Where a URL comes from a server's answer
    they go to `origins` alone, those of the route's own upstream; None: the file says where the request goes.
    `websocket`: see `UpstreamRequest`.
    """

    method: str
    urls: tuple[ValueTemplate, ...]
    headers: Mapping[str, ValueTemplate]
    query: Mapping[str, ValueTemplate]
    body: BodyRule | None
    credential_headers: Mapping[str, ValueTemplate] = field(default_factory=dict)
    credential_query: Mapping[str, ValueTemplate] = field(default_factory=dict)
    auth: DynamicAuth | None = None
    origins: frozenset[str | None] | None = None
    websocket: int | None = None

    @cached_property
    def reads(self) -> frozenset[str | None]:
        """The members of the request document that any part looks at."""
        parts = [*self.urls, *self.headers.values(), *self.query.values(), *self.credential_headers.values()]
        names = frozenset[str | None]().union(*(part.reads for part in parts))
        return names | (self.body.reads if self.body else frozenset())

    @cached_property
    def literal(self) -> bool:
        """Whether every request is sent to the same place with the same headers."""
        parts = [*self.urls, *self.headers.values(), *self.query.values(), *self.credential_headers.values()]
        return all(part.literal for part in [*parts, *self.credential_query.values()])

    def may_send_credentials(self, url: str) -> bool:
        """Whether the keys may go to a URL."""
        return self.origins is None or origin(url) in self.origins - {None}


@dataclass(frozen=True, slots=True)
class Callout:
    """A call around an answer. `at` is where in the file it stands.

    `url` reads its URL from the newest answer, where its own are none. With `until` it is made again, every
    so many seconds, for at most `timeout` seconds; `values` are then read from its last answer.
    """

    name: str
    template: RequestTemplate
    when: Condition | None = None
    url: Extractor | None = None
    values: tuple[tuple[str, Extractor], ...] = ()
    until: Condition | None = None
    interval: float = 0.5
    timeout: float = 300.0

    @property
    def reads(self) -> frozenset[str | None]:
        """The members of the request document that it looks at."""
        return self.template.reads | (self.when.reads if self.when else frozenset())


@dataclass(frozen=True, slots=True)
class SessionRule:
    """What a server keeps between calls. `id`: where the answer itself names it, if nothing opens it.

    `conversation`: it is kept for the next turn, and found `by` the transcript, `user` or a header of the
    client; at `most` so many are kept in `store`, each for `ttl` seconds.
    """

    open: Callout | None
    id: Extractor | None
    close: Callout | None
    is_kept: bool
    by: str
    header: str | None
    ttl: float
    max_kept: int
    store: str


def make_request(
    outgoing: RequestTemplate,
    scope: Scope,
    body: bytes | None,
    headers: Mapping[str, str],
    *,
    url: str | None = None,
) -> UpstreamRequest:
    """Fill the templates of a request, or take the `url` that a server gave.

    Raises RequestError where a value cannot be part of a header.
    """
    urls = (url,) if url is not None else tuple(str(one(scope)) for one in outgoing.urls)
    shown = url is None or outgoing.may_send_credentials(url)
    given = {"Accept-Encoding": "identity"} | dict(headers)
    if body is not None:
        given["Content-Type"] = "application/json"
    names = {name.lower(): name for name in given}
    for name, value in [*(outgoing.credential_headers.items() if shown else ()), *outgoing.headers.items()]:
        given.pop(names.get(name.lower(), name), None)
        names[name.lower()] = name
        given[name] = _header(name, str(value(scope)))
    parameters = [*(outgoing.credential_query.items() if shown else ()), *outgoing.query.items()]
    query = encode_query((name, str(value(scope))) for name, value in parameters)
    filled = tuple(append_query(one, query) for one in urls)
    auth = outgoing.auth if shown else None
    return UpstreamRequest(outgoing.method, filled, given, body, auth, outgoing.websocket)


def _header(name: str, value: str) -> str:
    # A line break would begin another header; half a surrogate pair cannot be written at all.
    if any(character in "\r\n\0" or "\ud800" <= character <= "\udfff" for character in value):
        raise RequestError(400, f"a value cannot be part of the header {name}", code="invalid_value")
    return value
