"""Upstream requests of a route: compiled, rendered, signed and sent over sockets.

async with run_sender(ROUTES, {"UPSTREAM": server.url}) as sending:
    response = await sending.send()           status and body of the upstream response
    signed = await sending.sign()             the signed request, unsent
    sending.clock.now += 60                   the monotonic clock; `time` is the wall clock
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.expressions.scope import Scope
from bridge.routes.rules.request_template import make_request
from bridge.upstream.auth import RequestAuthenticator
from bridge.upstream.client import UpstreamClient
from tests.raw_upstream import http_response
from tests.running_bridge import load_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.route import Route
    from tests.raw_upstream import Connection

__all__ = ["NOW", "Clock", "SignedSender", "bearer_token", "run_sender", "token_response", "token_server"]

NOW = 1_763_600_000.75
"""The wall clock at the start: Thu, 20 Nov 2025 00:53:20 GMT and 0.75 s, in seconds since 1970."""

_TIMEOUT = 30.0  # seconds


class Clock:
    """A clock that only a test advances."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Response(NamedTuple):
    """An upstream response."""

    status: int
    body: bytes


class SignedSender:
    """The upstream side of a bridge with one route."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.clock = Clock(1000.0)
        self.upstream = UpstreamClient()
        self.time = Clock(NOW)
        self.credentials = RequestAuthenticator(self.upstream.fetch, monotonic=self.clock, now=self.time)
        self.upstream._authenticator = self.credentials

    def request(self, body: bytes | None = b'{"a":1}', **document: Any) -> UpstreamRequest:
        """Return the request of the route, unsigned."""
        outgoing = (
            self.route.request.non_streaming
            if self.route.response.non_streaming
            else self.route.request.streaming
        )
        return make_request(outgoing, Scope({"model": "m", **document}), body, {"Accept": "*/*"})

    async def sign(self, **options: Any) -> UpstreamRequest:
        """Return the signed request."""
        request = self.request(**options)
        return await self.credentials.sign(request, request.urls[0])

    async def send(self, **options: Any) -> Response:
        """Sign and send the request, and return the response."""
        status, _, body = await self.upstream.fetch(self.request(**options), self.route.transport, 2**20)
        return Response(status, body)


@asynccontextmanager
async def run_sender(text: str, variables: Mapping[str, str] | None = None) -> AsyncIterator[SignedSender]:
    """Yield a sender for the first route of a file."""
    sending = SignedSender(load_table(text, variables or {}).routes[0])
    try:
        async with asyncio.timeout(_TIMEOUT):
            yield sending
    finally:
        await sending.upstream.close()


def token_response(text: str, **members: Any) -> bytes:
    """Return the response of a token server (RFC 6749, section 5.1)."""
    return http_response({"access_token": text, "token_type": "Bearer", "expires_in": 3600, **members})


def token_server(**members: Any) -> Any:
    """Return a handler that responds with the tokens t1, t2, … over all connections."""
    count = iter(range(1, 1000))

    async def behave(peer: Connection) -> None:
        while await peer.request():
            await peer.send(token_response(f"t{next(count)}", **members))

    return behave


def bearer_token(request: UpstreamRequest) -> str:
    """Return the bearer token of a signed request."""
    return request.headers["Authorization"].removeprefix("Bearer ")
