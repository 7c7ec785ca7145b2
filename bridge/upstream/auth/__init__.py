"""Computed credentials, added to a request just before the request is sent.

    authenticator = RequestAuthenticator(fetch)
    signed = await authenticator.sign(request, url)                  the request to one URL, with a credential
    signed = await authenticator.sign(request, url, rejected=signed)  with a new credential, after a 401

Signers keep tokens and keys by weak references to the auth rule, so a reload of the file drops the tokens and
keys of the old rules.
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

_CANCEL_TIMEOUT = 1.0  # seconds that cancelled token requests have to end


class RequestSigner(Protocol):
    """A signer for all auth rules of one class."""

    async def sign(
        self, auth: Any, request: UpstreamRequest, rejected: UpstreamRequest | None
    ) -> UpstreamRequest:
        """Return the request, which has one URL, with the credential of the rule `auth`.

        `rejected` is the signed request that the upstream rejected before, if any.
        """


class RequestAuthenticator:
    """The signers of all auth rules."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tasks = TaskRegistry()  # token requests and loads of keys
        context = SignerContext(fetch, self._tasks, monotonic, now)
        self._signers: dict[type, RequestSigner] = {rule: make(context) for rule, make in SIGNERS.items()}

    async def sign(
        self, request: UpstreamRequest, url: str, rejected: UpstreamRequest | None = None
    ) -> UpstreamRequest:
        """Return the request to `url`, one of the request's URLs, with a credential.

        `rejected` is the signed request that the upstream rejected before, if any. Raises UpstreamError if no
        credential can be obtained, BridgeError if a template of the rule fails.
        """
        unsigned = replace(request, urls=(url,))
        auth = request.auth
        return unsigned if auth is None else await self._signers[type(auth)].sign(auth, unsigned, rejected)

    async def close(self) -> None:
        """Cancel running token requests and loads of keys."""
        self._tasks.cancel()
        await self._tasks.wait(_CANCEL_TIMEOUT)


SIGNERS: dict[type, Callable[[SignerContext], RequestSigner]] = {
    OAuth2: OAuth2Signing,
    JWT: JWTSigning,
    HMAC: HMACSigning,
    AWS: SigV4Signer,
}
