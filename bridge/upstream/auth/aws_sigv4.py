"""Amazon's Signature Version 4, made by botocore: the one file that knows it.

    keys: of the file, or looked up in a thread, since that reads files and asks other machines
    request ─▶ host, content-type and x-amz-… headers, path, query, hash of the body ─▶ Authorization

Other headers are not signed: what stands between may change them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.openai.error_bodies import excerpt
from bridge.upstream.auth.hmac_signature import host_of
from bridge.upstream.auth.signing import wire_method_and_body, with_headers

if TYPE_CHECKING:
    from bridge.routes.rules.auth_rules import AWS
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.upstream.auth.signing import SignerContext

__all__ = ["SigV4Signer"]

_PATIENCE = 30.0  # seconds for a look-up: botocore tries an instance's role in vain for a few, each time


class _CredentialSource:
    """Where keys come from: botocore's own object once it is found, and the look-up that is going on."""

    def __init__(self) -> None:
        self.found: Any = None
        self.looking: asyncio.Task[str] | None = None


class SigV4Signer:
    """Signs each request by keys that botocore finds and renews."""

    def __init__(self, tools: SignerContext) -> None:
        self._tools = tools
        self._sources: WeakKeyDictionary[AWS, _CredentialSource] = WeakKeyDictionary()

    async def sign(
        self, auth: AWS, request: UpstreamRequest, refused: UpstreamRequest | None
    ) -> UpstreamRequest:
        """The request with its signature. Raises UpstreamError where there are no keys."""
        source = self._sources.setdefault(auth, _CredentialSource())
        if source.found is None or _needs_refresh(source.found):
            await self._look(auth, source)
        return _signed(auth, request, source.found.get_frozen_credentials())

    async def _look(self, auth: AWS, source: _CredentialSource) -> None:
        """Find keys, or renew them: once for all who wait."""
        if source.looking is None or source.looking.done():
            source.looking = self._tools.tasks.start(_looked_up(auth, source))
        try:
            async with asyncio.timeout(_PATIENCE):
                failure = await asyncio.shield(source.looking)
        except TimeoutError:
            failure = f"nothing was found in {_PATIENCE:g} s"
        if failure:
            raise UpstreamError(UpstreamFailure.TOKEN, f"no AWS keys: {failure}")


async def _looked_up(auth: AWS, source: _CredentialSource) -> str:
    """Fill the source; what went wrong, or nothing."""
    try:
        source.found = await asyncio.to_thread(_look_up, auth, source.found)
    except Exception as error:  # of files, of other machines, of botocore itself
        return excerpt(f"{type(error).__name__}: {error}", 300)
    return "" if source.found else "neither the environment nor files nor a role has any"


def _look_up(auth: AWS, found: Any) -> Any:
    """botocore's object for keys, whose own are fresh. Blocks."""
    import botocore.auth  # here for the first time, since it takes long
    import botocore.credentials
    import botocore.session

    if auth.keys:
        return botocore.credentials.Credentials(*auth.keys)
    found = found or botocore.session.get_session().get_credentials()
    if found:
        found.get_frozen_credentials()
    return found


def _needs_refresh(found: Any) -> bool:
    """Whether botocore would go for other keys now, and so block."""
    renews = getattr(found, "refresh_needed", None)
    return renews is not None and renews()


def _signed(auth: AWS, request: UpstreamRequest, keys: Any) -> UpstreamRequest:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    headers = {
        name: value
        for name, value in request.headers.items()
        if name.lower() == "content-type" or name.lower().startswith("x-amz-")
    }
    # Said aloud: what is signed is what is sent, whatever a client makes of the URL.
    headers["Host"] = host_of(request)
    method, body = wire_method_and_body(request)
    made = AWSRequest(method, request.urls[0], headers=headers, data=body)
    SigV4Auth(keys, auth.service, auth.region).add_auth(made)
    return with_headers(request, dict(made.headers.items()))
