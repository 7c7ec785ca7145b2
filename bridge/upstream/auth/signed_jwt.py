"""Tokens that are signed here, and used for half of their life."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from bridge.core.deltas import MISSING
from bridge.expressions.scope import Scope
from bridge.upstream.auth.signing import with_headers

if TYPE_CHECKING:
    from bridge.routes.rules.auth_rules import JWT
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.upstream.auth.signing import SignerContext

__all__ = ["JWTSigning", "make_token"]


class JWTSigning:
    """Shows tokens, each until half of its life is over: a server whose clock is ahead still takes it."""

    def __init__(self, tools: SignerContext) -> None:
        self._tools = tools
        self._kept: WeakKeyDictionary[JWT, tuple[str, float]] = WeakKeyDictionary()

    async def sign(
        self, auth: JWT, request: UpstreamRequest, refused: UpstreamRequest | None
    ) -> UpstreamRequest:
        """The request with a token."""
        token, until = self._kept.get(auth, ("", 0.0))
        now = self._tools.monotonic()
        if not token or now >= until:
            token = make_token(auth, self._tools.now())
            self._kept[auth] = token, now + auth.expires / 2
        return with_headers(request, {auth.header: auth.prefix + token})


def make_token(auth: JWT, now: float) -> str:
    """A token of this time. `iat` and `exp` are added unless the claims name them; null leaves one out."""
    issued = int(now)
    expires = issued + int(auth.expires)
    scope = Scope({"key": auth.key, "now": issued, "exp": expires})
    headers = {name: value for name, make in auth.headers.items() if (value := make(scope)) is not MISSING}
    claims = {name: value for name, make in auth.claims.items() if (value := make(scope)) is not MISSING}
    times = {"iat": issued, "exp": expires}
    return auth.signer.sign(
        headers,
        {name: value for name, value in (times | claims).items() if name not in times or value is not None},
    )
