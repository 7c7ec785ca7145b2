"""Tokens of OAuth 2 token servers (RFC 6749, 7523), requested once and renewed before they expire.

    token request sent ─────────────── renew_at ─────────────────────────────── expires_at
                       token is used            token is used, a new one is requested

A token is renewed a tenth of its lifetime, up to a minute, before its end. The margin covers the token
request, the upstream request, and short failures of the token server. The lifetime starts before the token
request is sent, on the monotonic clock.
"""

from __future__ import annotations

import asyncio
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit
from weakref import WeakKeyDictionary

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.headers import RequestHeaders
from bridge.core.masking import mask
from bridge.openai.error_bodies import excerpt, parse_error_body
from bridge.routes.rules.request_template import UpstreamRequest
from bridge.upstream.auth.signed_jwt import make_token
from bridge.upstream.auth.signing import with_headers, with_query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.routes.rules.auth_rules import OAuth2
    from bridge.upstream.auth.signing import SignerContext

__all__ = ["OAuth2Signing"]

_MAX_RESPONSE = 2**20  # bytes of a token response
_REFRESH_MARGIN = 60.0  # seconds from renewal to expiry, or a tenth of the lifetime if less
_DEFAULT_LIFETIME = 300.0  # seconds, if the token response has no valid `expires_in`
_RETRY_DELAY = 1.0  # seconds between a failed renewal and the next, while the token is valid


class Token(NamedTuple):
    """A token and its times on the monotonic clock."""

    text: str
    renew_at: float  # seconds
    expires_at: float  # seconds


class TokenError(NamedTuple):
    """A failed token request."""

    # A value, not an exception: requests that share a token request raise an exception each.
    message: str
    status: int  # HTTP status of the response to the client


class _TokenState:
    """The token of one rule."""

    def __init__(self) -> None:
        self.token: Token | None = None  # the last token; None before the first and after a rejection
        self.call: asyncio.Task[Token | TokenError] | None = None  # the last token request, running or done


class OAuth2Signing:
    """The signer of OAuth 2 rules, with one token per rule."""

    def __init__(self, context: SignerContext) -> None:
        self._context = context
        self._states: WeakKeyDictionary[OAuth2, _TokenState] = WeakKeyDictionary()

    async def sign(
        self, auth: OAuth2, request: UpstreamRequest, rejected: UpstreamRequest | None
    ) -> UpstreamRequest:
        """Return the request with a token, or with a new token if the upstream rejected the current token.

        Raises UpstreamError if the token request fails.
        """
        state = self._states.setdefault(auth, _TokenState())
        if rejected is not None and state.token and _with_token(auth, request, state.token.text) == rejected:
            # A request rejected with an older token does not drop the current token.
            state.token = None
        return _with_token(auth, request, await self._token(auth, state))

    async def _token(self, auth: OAuth2, state: _TokenState) -> str:
        """Return a valid token. Requests a token if the current token is missing or due for renewal."""
        now = self._context.monotonic()
        token = state.token
        if token is not None and now < token.renew_at:
            return token.text
        if state.call is None or state.call.done():
            state.call = self._context.tasks.start(self._call(auth, state))
        if token is not None and now < token.expires_at:
            return token.text
        result = await asyncio.shield(state.call)
        if isinstance(result, TokenError):
            raise UpstreamError(UpstreamFailure.TOKEN, result.message, status=result.status)
        return result.text

    async def _call(self, auth: OAuth2, state: _TokenState) -> Token | TokenError:
        """Request a token and store the token. A failure leaves the current token in use."""
        sent_at = self._context.monotonic()
        server = urlsplit(auth.url).netloc.rpartition("@")[2]
        form = dict(auth.form)
        if auth.assertion is not None:
            form["assertion"] = make_token(auth.assertion, self._context.now())
        try:
            status, _, body = await self._context.fetch(_request(auth, form), auth.transport, _MAX_RESPONSE)
        except UpstreamError as error:
            message = f"token request to {server} failed: {error.message}"
            result: Token | TokenError = TokenError(message, error.status)
        else:
            result = _read(status, body, server, sent_at, (*auth.secrets, form.get("assertion", "")))
        if isinstance(result, Token):
            state.token = result
        elif state.token is not None:
            state.token = state.token._replace(renew_at=self._context.monotonic() + _RETRY_DELAY)
        return result


def _with_token(auth: OAuth2, request: UpstreamRequest, token: str) -> UpstreamRequest:
    """Return the request with the token in the query parameter or header of the rule."""
    if auth.query is not None:
        return with_query(request, {auth.query: token})
    return with_headers(request, {auth.header: auth.prefix + token})


def _request(auth: OAuth2, form: Mapping[str, str]) -> UpstreamRequest:
    """Return the token request (RFC 6749, sections 2.3.1 and 4.4.2)."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", **auth.headers}
    if auth.form_in_query:
        return with_query(UpstreamRequest("POST", (auth.url,), RequestHeaders(headers), b""), form)
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return UpstreamRequest("POST", (auth.url,), RequestHeaders(headers), urlencode(form).encode())


def _read(
    status: int, body: bytes, server: str, sent_at: float, secrets: Sequence[str]
) -> Token | TokenError:
    """Return the token in a token response, or the error."""
    # Error texts may repeat parts of the token request, so secrets are masked.
    text = mask(body.decode("utf-8", "replace"), secrets)
    try:
        doc = json.loads(body)
    except ValueError:
        doc = MISSING
    members: dict[str, Any] = doc if isinstance(doc, dict) else {}
    token = members.get("access_token")
    if status >= 400 or (token is None and members.get("error")):
        reasons = [members[name] for name in _ERROR_MEMBERS if isinstance(members.get(name), str)]
        reason = ": ".join(reasons) or parse_error_body(doc, text, status).message
        return TokenError(f"{server} rejected the token request: {excerpt(mask(reason, secrets))}", 502)
    if not (status < 300 and isinstance(token, str) and _TOKEN.fullmatch(token)):
        # The body is left out of the message: a member of another name may hold a token.
        fault = f"token response of {server} (status {status}) is invalid"
        return TokenError(f"{fault}: expected a 2xx status and an `access_token` of printable ASCII", 502)
    lifetime = _parse_lifetime(members.get("expires_in"))
    return Token(token, sent_at + lifetime - min(_REFRESH_MARGIN, lifetime / 10), sent_at + lifetime)


def _parse_lifetime(expires_in: Any) -> float:
    """Return the lifetime of a token in seconds."""
    # Some servers send the number as a string, some servers omit the number.
    try:
        missing = expires_in is None or isinstance(expires_in, bool)
        lifetime = _DEFAULT_LIFETIME if missing else float(expires_in)
    except (TypeError, ValueError, OverflowError):
        return _DEFAULT_LIFETIME
    return max(lifetime, 0.0) if math.isfinite(lifetime) else _DEFAULT_LIFETIME


_TOKEN = re.compile(r"[!-~]+")
_ERROR_MEMBERS = ("error", "error_description")
