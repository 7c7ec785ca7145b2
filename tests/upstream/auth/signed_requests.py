"""Requests of a route as they leave the bridge: compiled, filled, signed and sent, to real sockets.

async with sender(ROUTES, {"UPSTREAM": server.url}) as sending:
    answer = await sending.ask()              status and body, as the upstream gave them
    signed = await sending.sign()             the request that would have gone out
    sending.clock.now += 60                   the clock that does not jump goes on; `time` is that of day
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.expressions.scope import Scope
from bridge.routes.rules.request_template import make_request
from bridge.upstream.auth import RequestAuthenticator
from bridge.upstream.client import UpstreamClient
from tests.raw_client import load_table
from tests.raw_upstream import http_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.routes.rules.route import Route
    from tests.raw_upstream import Connection

__all__ = ["NOW", "Clock", "SignedSender", "bearer_token", "run_sender", "token_response", "token_server"]

NOW = 1_763_600_000.75
"""The time of day here, in seconds since 1970: Thu, 20 Nov 2025 00:53:20 GMT, and a bit."""

_PATIENCE = 30.0  # seconds, far more than any test needs


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Response(NamedTuple):
    """An upstream's answer."""

    status: int
    body: bytes


class SignedSender:
    """The sending half of a bridge with one route."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.clock = Clock(1000.0)
        self.upstream = UpstreamClient()
        self.time = Clock(NOW)
        self.credentials = RequestAuthenticator(self.upstream.fetch, monotonic=self.clock, now=self.time)
        self.upstream._credentials = self.credentials

    def request(self, body: bytes | None = b'{"a":1}', **document: Any) -> UpstreamRequest:
        """The route's request, before it is signed."""
        outgoing = (
            self.route.request.non_streaming
            if self.route.response.non_streaming
            else self.route.request.streaming
        )
        return make_request(outgoing, Scope({"model": "m", **document}), body, {"Accept": "*/*"})

    async def sign(self, **how: Any) -> UpstreamRequest:
        """It as it would be sent."""
        request = self.request(**how)
        return await self.credentials.sign(request, request.urls[0])

    async def send(self, **how: Any) -> Response:
        """Send it."""
        status, _, body = await self.upstream.fetch(self.request(**how), self.route.transport, 2**20)
        return Response(status, body)


@asynccontextmanager
async def run_sender(text: str, variables: Mapping[str, str] | None = None) -> AsyncIterator[SignedSender]:
    """The first route of a file."""
    sending = SignedSender(load_table(text, variables or {}).routes[0])
    try:
        async with asyncio.timeout(_PATIENCE):
            yield sending
    finally:
        await sending.upstream.close()


def token_response(text: str, **members: Any) -> bytes:
    """A token server's answer (RFC 6749, section 5.1)."""
    return http_response({"access_token": text, "token_type": "Bearer", "expires_in": 3600, **members})


def token_server(**members: Any) -> Any:
    """The behaviour of a token server: t1, t2, … over all its connections."""
    count = iter(range(1, 1000))

    async def behave(peer: Connection) -> None:
        while await peer.request():
            await peer.send(token_response(f"t{next(count)}", **members))

    return behave


def bearer_token(request: UpstreamRequest) -> str:
    """The token in a signed request."""
    return request.headers["Authorization"].removeprefix("Bearer ")
