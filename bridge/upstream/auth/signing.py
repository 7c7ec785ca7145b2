"""What every kind of credential is made with: clocks, small calls, and places in a request.

one waiter leaves ─╮
waiter ─────────── shield ─── one task ─── the call      it goes on for the others, and for the next one
waiter ───────────╯
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.urls import append_query, encode_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.settings import TransportSpec
    from bridge.tasks import TaskRegistry

    Fetch = Callable[[UpstreamRequest, TransportSpec, int], Awaitable[tuple[int, Mapping[str, str], bytes]]]

__all__ = ["SignerContext", "wire_method_and_body", "with_headers", "with_query"]


class SignerContext(NamedTuple):
    """`monotonic` for what runs out, since the time of day may jump; `now` is told to others."""

    fetch: Fetch
    tasks: TaskRegistry
    monotonic: Callable[[], float]
    now: Callable[[], float]


def wire_method_and_body(request: UpstreamRequest) -> tuple[str, bytes]:
    """The method and body that go out: a websocket is opened by a GET, and the body is a message on it."""
    return (request.method, request.body or b"") if request.websocket_limit is None else ("GET", b"")


def with_headers(request: UpstreamRequest, headers: Mapping[str, str]) -> UpstreamRequest:
    """A request with these headers in place of equal ones."""
    names = {name.lower() for name in headers}
    kept = {name: value for name, value in request.headers.items() if name.lower() not in names}
    return replace(request, headers={**kept, **headers})


def with_query(request: UpstreamRequest, pairs: Mapping[str, str]) -> UpstreamRequest:
    """A request of one URL with these query parameters behind its own."""
    if not pairs:
        return request
    (url,) = request.urls
    return replace(request, urls=(append_query(url, encode_query(pairs.items())),))
