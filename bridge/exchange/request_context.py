"""A client's request as the exchange receives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.routes.rules.route import Route

__all__ = ["RequestContext"]


class RequestContext(NamedTuple):
    """One request of a client, on the route that was found for its model."""

    route: Route
    endpoint: EndpointSpec
    body: dict[str, Any]  # parsed from `data`
    data: bytes  # the body as it was received
    id: str  # the response's id, without the endpoint's prefix
    now: float  # seconds of Unix time
    model: str = ""  # the label of metrics: an entry of the route's `models`, possibly a pattern
    authorization: str | None = None  # the client's Authorization header, where the route passes it on
    conversation: str | None = None  # the client's name for the conversation, where the route reads a header
    tenant: str | None = None  # the digest of the key that the bridge accepted; None: it requires no key
