"""Requests to an upstream: the templates of their parts, and the request that the templates make.

make_request(template, scope of the request document, body, headers) ─▶ UpstreamRequest
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from bridge.core.errors import RequestError
from bridge.core.headers import RequestHeaders, can_be_sent
from bridge.core.urls import append_query, encode_query, origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.expressions.conditions import Condition
    from bridge.expressions.extractors import Extractor
    from bridge.expressions.scope import Scope
    from bridge.expressions.templates import ValueTemplate
    from bridge.routes.rules.auth_rules import DynamicAuth
    from bridge.routes.rules.body_rules import BodyRule

__all__ = ["Callout", "RequestTemplate", "ResponseOrigins", "SessionRule", "UpstreamRequest", "make_request"]


@dataclass(slots=True)
class UpstreamRequest:
    """One request to send."""

    method: str
    urls: tuple[str, ...]  # the URL at each replica
    headers: RequestHeaders
    body: bytes | None
    auth: DynamicAuth | None = None  # the rule of a credential to make when the request is sent
    websocket_limit: int | None = None  # for a websocket, whose first message is the body: bytes of a message


@dataclass(frozen=True, slots=True)
class ResponseOrigins:
    """The origins to which a URL out of a response may lead."""

    own: frozenset[str]  # origins of the file's own URLs, which get credentials and headers of the route
    others: frozenset[str]  # `upstream.url_origins`, which get the headers of the callout only
    headers: Mapping[str, ValueTemplate]  # of the callout

    def allow(self, url: str) -> bool:
        """Return whether a request may be sent to a URL."""
        place = origin(url)
        return place in self.own or place in self.others


@dataclass(frozen=True)
class RequestTemplate:
    """A request, as templates over the request document."""

    method: str
    urls: tuple[ValueTemplate, ...]  # the URL at each replica
    headers: Mapping[str, ValueTemplate]
    query: Mapping[str, ValueTemplate]
    body: BodyRule | None
    credential_headers: Mapping[str, ValueTemplate] = field(default_factory=dict)
    credential_query: Mapping[str, ValueTemplate] = field(default_factory=dict)
    auth: DynamicAuth | None = None
    origins: ResponseOrigins | None = None  # None: the file contains the URL, no response names the URL
    websocket_limit: int | None = None  # see `UpstreamRequest`

    @cached_property
    def reads(self) -> frozenset[str | None]:
        """Return the members of the request document that any part reads."""
        parts = [*self.urls, *self.headers.values(), *self.query.values(), *self.credential_headers.values()]
        names = frozenset[str | None]().union(*(part.reads for part in parts))
        return names | (self.body.reads if self.body else frozenset())

    @cached_property
    def literal(self) -> bool:
        """Return whether the URLs and headers of all requests are the same."""
        parts = [*self.urls, *self.headers.values(), *self.query.values(), *self.credential_headers.values()]
        return all(part.literal for part in [*parts, *self.credential_query.values()])

    def may_send_credentials(self, url: str) -> bool:
        """Return whether credentials may be sent to a URL: the file's, or one with the upstream's origin."""
        return self.origins is None or origin(url) in self.origins.own


@dataclass(frozen=True, slots=True)
class Callout:
    """A call other than the one whose response the client gets."""

    name: str  # the path of the callout in the file, for messages
    template: RequestTemplate
    when: Condition | None = None  # on the request document; None: always made
    url: Extractor | None = None  # of the URL in the newest response of a callout; None: the template's URL
    values: tuple[tuple[str, Extractor], ...] = ()  # members for the request document, from the last response
    until: Condition | None = None  # on the response: the call is repeated until it holds; None: made once
    interval: float = 0.5  # seconds before the first repetition
    timeout: float = 300.0  # seconds for all repetitions

    @property
    def reads(self) -> frozenset[str | None]:
        """Return the members of the request document that the callout reads."""
        return self.template.reads | (self.when.reads if self.when else frozenset())


@dataclass(frozen=True, slots=True)
class SessionRule:
    """A session of an upstream."""

    open: Callout | None
    id: Extractor | None  # without `open`: of the id in the response itself
    close: Callout | None
    is_kept: bool  # the session is kept for the next turn
    by: str  # how a kept session is found: transcript, user or header
    header: str | None  # the client's header, if a kept session is found by a header
    ttl: float  # seconds that a kept session may be idle
    max_kept: int
    store: str  # memory, or the URL of a Redis


def make_request(
    template: RequestTemplate,
    scope: Scope,
    body: bytes | None,
    headers: Mapping[str, str],
    *,
    url: str | None = None,
) -> UpstreamRequest:
    """Return the request of a template, at the template's URLs or at a `url` that a response names.

    Headers of the template replace `headers`. Raises RequestError if a value cannot be part of a header.
    """
    with_credentials = url is None or template.may_send_credentials(url)
    sent = {"Accept-Encoding": "identity"} | dict(headers)
    if body is not None:
        sent["Content-Type"] = "application/json"
    credential_headers = template.credential_headers.items() if with_credentials else ()
    credential_query = template.credential_query.items() if with_credentials else ()
    names = {name.lower(): name for name in sent}
    headers_of = template if with_credentials or template.origins is None else template.origins
    for name, value in (*credential_headers, *headers_of.headers.items()):
        sent.pop(names.get(name.lower(), name), None)
        names[name.lower()] = name
        sent[name] = _header_value(name, str(value(scope)))
    parameters = (*credential_query, *template.query.items())
    query = encode_query((name, str(value(scope))) for name, value in parameters)
    urls = (url,) if url is not None else tuple(str(each(scope)) for each in template.urls)
    return UpstreamRequest(
        template.method,
        tuple(append_query(each, query) for each in urls),
        RequestHeaders(sent),
        body,
        template.auth if with_credentials else None,
        template.websocket_limit,
    )


def _header_value(name: str, value: str) -> str:
    if not can_be_sent(value):
        raise RequestError(400, f"a value cannot be part of the header {name}", code="invalid_value")
    return value
