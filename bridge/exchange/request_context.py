"""A client's request as the exchange receives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.routes.rules.route import Route

__all__ = ["UNKNOWN_CLIENT", "Client", "RequestContext"]


class Client(NamedTuple):
    """The sender of a request, as far as the bridge can distinguish clients."""

    address: str = ""
    key: str | None = None  # the name of the accepted key
    tenant: str | None = None  # the digest of the accepted key; None: the bridge requires no key
    charge: Callable[[int], None] | None = None  # counts the tokens of a response, for a key with a limit


UNKNOWN_CLIENT = Client()


@dataclass(slots=True)
class RequestContext:
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
    client: Client = UNKNOWN_CLIENT
