"""JSON Web Tokens that the bridge signs, each used for half of its lifetime."""

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
    """The signer of JWT rules, with one token per rule."""

    def __init__(self, context: SignerContext) -> None:
        self._context = context
        # Tokens, and the monotonic times in seconds at which each is replaced.
        self._tokens: WeakKeyDictionary[JWT, tuple[str, float]] = WeakKeyDictionary()

    async def sign(
        self, auth: JWT, request: UpstreamRequest, rejected: UpstreamRequest | None
    ) -> UpstreamRequest:
        """Return the request with a token."""
        token, renew_at = self._tokens.get(auth, ("", 0.0))
        now = self._context.monotonic()
        if not token or now >= renew_at:
            token = make_token(auth, self._context.now())
            # Half of the lifetime, so that an upstream whose clock is fast still accepts the token.
            self._tokens[auth] = token, now + auth.expires / 2
        return with_headers(request, {auth.header: auth.prefix + token})


def make_token(auth: JWT, now: float) -> str:
    """Return a token issued at `now`, in seconds since 1970.

    The claims `iat` and `exp` are added unless the rule sets them. In the rule, `iat: null` and `exp: null`
    omit these claims.
    """
    issued = int(now)
    expires = issued + int(auth.expires)
    scope = Scope({"key": auth.key, "now": issued, "exp": expires})
    headers = {
        name: value for name, render in auth.headers.items() if (value := render(scope)) is not MISSING
    }
    claims = {name: value for name, render in auth.claims.items() if (value := render(scope)) is not MISSING}
    times = {"iat": issued, "exp": expires}
    return auth.signer.sign(
        headers,
        {name: value for name, value in (times | claims).items() if name not in times or value is not None},
    )
