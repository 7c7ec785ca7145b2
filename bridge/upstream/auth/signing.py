"""Code that all signers share: clocks, token requests, and headers and query of a request.

request, cancelled ─╮
request ─────────── shield ─── one task ─── token request
request ────────────╯

All requests of a rule await one task. When a request is cancelled, the task continues for the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.headers import RequestHeaders
from bridge.core.urls import append_query, encode_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.transport import TransportSpec
    from bridge.tasks import TaskRegistry

    Fetch = Callable[[UpstreamRequest, TransportSpec, int], Awaitable[tuple[int, Mapping[str, str], bytes]]]

__all__ = ["SignerContext", "sent_method_and_body", "with_headers", "with_query"]


class SignerContext(NamedTuple):
    """The dependencies of a signer."""

    fetch: Fetch  # sends a request; returns status, headers, and a body of up to the given number of bytes
    tasks: TaskRegistry  # tasks that outlive the request that started them
    monotonic: Callable[[], float]  # seconds, for lifetimes, since the wall clock may jump
    now: Callable[[], float]  # seconds since 1970, for times that are sent


def sent_method_and_body(request: UpstreamRequest) -> tuple[str, bytes]:
    """Return method and body as sent over HTTP."""
    # A WebSocket is opened by a GET without a body; the request's body is sent as a message.
    return (request.method, request.body or b"") if request.websocket_limit is None else ("GET", b"")


def with_headers(request: UpstreamRequest, headers: Mapping[str, str]) -> UpstreamRequest:
    """Return the request with these headers, which replace headers of equal names."""
    names = {name.lower() for name in headers}
    others = {name: value for name, value in request.headers.items() if name.lower() not in names}
    return replace(request, headers=RequestHeaders({**others, **headers}))


def with_query(request: UpstreamRequest, pairs: Mapping[str, str]) -> UpstreamRequest:
    """Return the request, which has one URL, with these query parameters after those of the URL."""
    if not pairs:
        return request
    (url,) = request.urls
    return replace(request, urls=(append_query(url, encode_query(pairs.items())),))
