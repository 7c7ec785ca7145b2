"""Tokens that another server gives (RFC 6749, 7523): asked for once, renewed before they run out.

    sent ──────────────── renewed from here on ──────── ends
         the token is used                     it is still used, another one is on its way

A token is renewed a tenth of its life before its end, at most a minute: long enough for the call and for a
request's own way to the server, and a token server that is down for a moment goes unnoticed. Its life counts
from before it was asked for, by a clock that does not jump.
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

_LARGEST = 2**20  # bytes of a token server's answer
_REFRESH_MARGIN = 60.0  # seconds before its end from which on a token is renewed, or a tenth of its life
_DEFAULT_LIFETIME = 300.0  # seconds that a token is used for when its life is not told
_PAUSE = 1.0  # seconds between two attempts to renew a token that is still good


class Token(NamedTuple):
    """A token, and the times from which on it is renewed and no longer used."""

    text: str
    renewed: float
    ends: float


class TokenError(NamedTuple):
    """Why there is none. Each who waited raises an error of their own."""

    message: str
    status: int


class _TokenState:
    """What is known by one description: the token, and the call that is going on."""

    def __init__(self) -> None:
        self.token: Token | None = None
        self.call: asyncio.Task[Token | TokenError] | None = None


class OAuth2Signing:
    """Shows tokens, one for all requests of a description."""

    def __init__(self, tools: SignerContext) -> None:
        self._tools = tools
        self._states: WeakKeyDictionary[OAuth2, _TokenState] = WeakKeyDictionary()

    async def sign(
        self, auth: OAuth2, request: UpstreamRequest, refused: UpstreamRequest | None
    ) -> UpstreamRequest:
        """The request with a token; with another one where the server refused it. Raises UpstreamError."""
        state = self._states.setdefault(auth, _TokenState())
        if refused is not None and state.token and _with_token(auth, request, state.token.text) == refused:
            state.token = None
        return _with_token(auth, request, await self._token(auth, state))

    async def _token(self, auth: OAuth2, state: _TokenState) -> str:
        now = self._tools.monotonic()
        token = state.token
        if token is not None and now < token.renewed:
            return token.text
        if state.call is None or state.call.done():
            state.call = self._tools.tasks.start(self._call(auth, state))
        if token is not None and now < token.ends:
            return token.text
        given = await asyncio.shield(state.call)
        if isinstance(given, TokenError):
            raise UpstreamError(UpstreamFailure.TOKEN, given.message, status=given.status)
        return given.text

    async def _call(self, auth: OAuth2, state: _TokenState) -> Token | TokenError:
        """Ask for a token. A failure leaves the one that is there."""
        begun = self._tools.monotonic()
        where = urlsplit(auth.url).netloc.rpartition("@")[2]
        form = dict(auth.form)
        if auth.assertion is not None:
            form["assertion"] = make_token(auth.assertion, self._tools.now())
        try:
            status, _, body = await self._tools.fetch(_request(auth, form), auth.transport, _LARGEST)
        except UpstreamError as error:
            given: Token | TokenError = TokenError(f"no token from {where}: {error.message}", error.status)
        else:
            given = _read(status, body, where, begun, (*auth.secrets, form.get("assertion", "")))
        if isinstance(given, Token):
            state.token = given
        elif state.token is not None:
            state.token = state.token._replace(renewed=self._tools.monotonic() + _PAUSE)
        return given


def _with_token(auth: OAuth2, request: UpstreamRequest, token: str) -> UpstreamRequest:
    if auth.query is not None:
        return with_query(request, {auth.query: token})
    return with_headers(request, {auth.header: auth.prefix + token})


def _request(auth: OAuth2, form: Mapping[str, str]) -> UpstreamRequest:
    """The token call (RFC 6749, sections 2.3.1 and 4.4.2)."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", **auth.headers}
    if auth.form_in_query:
        return with_query(UpstreamRequest("POST", (auth.url,), headers, b""), form)
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return UpstreamRequest("POST", (auth.url,), headers, urlencode(form).encode())


def _read(status: int, body: bytes, where: str, begun: float, secrets: Sequence[str]) -> Token | TokenError:
    """The token in an answer, or what the answer says instead, which may repeat what was asked."""
    text = mask(body.decode("utf-8", "replace"), secrets)
    try:
        doc = json.loads(body)
    except ValueError:
        doc = MISSING
    members: dict[str, Any] = doc if isinstance(doc, dict) else {}
    token = members.get("access_token")
    if status >= 400 or (token is None and members.get("error")):
        said = [members[name] for name in _WORDS if isinstance(members.get(name), str)]
        words = ": ".join(said) or parse_error_body(doc, text, status).message
        return TokenError(f"{where} refused a token: {excerpt(mask(words, secrets))}", 502)
    if not (status < 300 and isinstance(token, str) and _TOKEN.fullmatch(token)):
        # Its words are not told: a token may be among them under another name.
        return TokenError(f"{where} gave no token: no `access_token` of use is in its answer {status}", 502)
    life = _seconds(members.get("expires_in"))
    return Token(token, begun + life - min(_REFRESH_MARGIN, life / 10), begun + life)


def _seconds(told: Any) -> float:
    """The life of a token: some servers write the number as a string, some tell none."""
    try:
        life = _DEFAULT_LIFETIME if told is None or isinstance(told, bool) else float(told)
    except (TypeError, ValueError, OverflowError):
        return _DEFAULT_LIFETIME
    return max(life, 0.0) if math.isfinite(life) else _DEFAULT_LIFETIME


_TOKEN = re.compile(r"[!-~]+")
_WORDS = ("error", "error_description")
