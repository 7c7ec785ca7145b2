"""Credentials that are made: what a request is shown to the server with, just before it is sent.

    credentials = Credentials(fetch)
    signed = await credentials.sign(request, url)                  the request to one URL, with its credential
    signed = await credentials.sign(request, url, refused=signed)  again, with another one

What is made is kept with the description it was made by, so a table that is replaced leaves nothing behind.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from bridge.routes.rules.auth_rules import AWS, HMAC, JWT, OAuth2
from bridge.tasks import TaskRegistry
from bridge.upstream.auth.aws_sigv4 import SigV4Signer
from bridge.upstream.auth.hmac_signature import HMACSigning
from bridge.upstream.auth.oauth2 import OAuth2Signing
from bridge.upstream.auth.signed_jwt import JWTSigning
from bridge.upstream.auth.signing import SignerContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.upstream.auth.signing import Fetch

__all__ = ["RequestAuthenticator", "RequestSigner"]

_CANCEL_TIMEOUT = 1.0  # seconds until cancelled token calls are over


class RequestSigner(Protocol):
    """One kind: signs by any number of descriptions."""

    async def sign(
        self, auth: Any, request: UpstreamRequest, refused: UpstreamRequest | None
    ) -> UpstreamRequest:
        """The request, which has one URL, with its credential."""


class RequestAuthenticator:
    """Makes credentials of all kinds. `fetch` makes a small call; the clocks are seconds."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tasks = TaskRegistry()
        tools = SignerContext(fetch, self._tasks, monotonic, now)
        self._kinds: dict[type, RequestSigner] = {of: kind(tools) for of, kind in SIGNERS.items()}

    async def sign(
        self, request: UpstreamRequest, url: str, refused: UpstreamRequest | None = None
    ) -> UpstreamRequest:
        """The request to one of its URLs, as it is sent. `refused` is what was made of it before, in vain.

        Raises UpstreamError where no credential can be had, BridgeError where a template of it fails.
        """
        alone = replace(request, urls=(url,))
        auth = request.auth
        return alone if auth is None else await self._kinds[type(auth)].sign(auth, alone, refused)

    async def close(self) -> None:
        """Cancel the token calls that are still running."""
        self._tasks.cancel()
        await self._tasks.wait(_CANCEL_TIMEOUT)


SIGNERS: dict[type, Callable[[SignerContext], RequestSigner]] = {
    OAuth2: OAuth2Signing,
    JWT: JWTSigning,
    HMAC: HMACSigning,
    AWS: SigV4Signer,
}
