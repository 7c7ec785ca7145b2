"""JSON Web Tokens that the bridge signs, each used for half of its lifetime."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from bridge.core.deltas import MISSING
from bridge.expressions.scope import Scope
from bridge.upstream.auth.signing import with_headers

if TYPE_CHECKING:
    from bridge.routes.rules.auth_rules import JWT
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.upstream.auth.signing import SignerContext

__all__ = ["JWTSigning", "make_token"]


class _Token(NamedTuple):
    """A token, and the times between which the token is used."""

    text: str
    renew_at: float  # monotonic, in seconds
    made: float  # in seconds since 1970
    renew_wall: float  # in seconds since 1970


class JWTSigning:
    """The signer of JWT rules, with one token per rule."""

    def __init__(self, context: SignerContext) -> None:
        self._context = context
        self._tokens: WeakKeyDictionary[JWT, _Token] = WeakKeyDictionary()

    async def sign(
        self, auth: JWT, request: UpstreamRequest, rejected: UpstreamRequest | None
    ) -> UpstreamRequest:
        """Return the request with a token; with the same token if it was rejected at once."""
        token = self._tokens.get(auth)
        now, wall = self._context.monotonic(), self._context.now()
        is_rejected = (
            token is not None
            and rejected is not None
            and rejected.headers.get(auth.header) == auth.prefix + token.text
        )
        # Both clocks count: the upstream compares the token's times with the wall clock, which may be set,
        # and the monotonic clock stands still while the machine sleeps.
        if token is None or is_rejected or now >= token.renew_at or not token.made <= wall < token.renew_wall:
            # Half of the lifetime, so that an upstream whose clock is fast still accepts the token.
            lifetime = auth.expires / 2
            text = make_token(auth, wall)
            token = self._tokens[auth] = _Token(text, now + lifetime, wall, wall + lifetime)
        return with_headers(request, {auth.header: auth.prefix + token.text})


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
