"""AWS Signature Version 4, computed by botocore, which only this module imports.

    request ─▶ host, content-type and x-amz-… headers, path, query, hash of the body ─▶ Authorization

Keys are those of the file, or are loaded by botocore from the environment, from files or from a role.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.openai.error_bodies import excerpt
from bridge.upstream.auth.hmac_signature import host_of
from bridge.upstream.auth.signing import sent_method_and_body, with_headers

if TYPE_CHECKING:
    from bridge.routes.rules.auth_rules import AWS
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.upstream.auth.signing import SignerContext

__all__ = ["SigV4Signer"]

# Seconds to load keys. On a machine without a role, botocore spends a few seconds on each search for a role.
_LOAD_TIMEOUT = 30.0


class _CredentialSource:
    """The keys of one rule."""

    def __init__(self) -> None:
        # botocore's object, which renews keys that expire; None before the first load.
        self.credentials: Any = None
        self.load: asyncio.Task[str] | None = None  # the last load of keys, running or done


class SigV4Signer:
    """The signer of AWS rules, with keys that botocore loads and renews."""

    def __init__(self, context: SignerContext) -> None:
        self._context = context
        self._sources: WeakKeyDictionary[AWS, _CredentialSource] = WeakKeyDictionary()

    async def sign(
        self, auth: AWS, request: UpstreamRequest, rejected: UpstreamRequest | None
    ) -> UpstreamRequest:
        """Return the request with a signature. Raises UpstreamError if no keys can be loaded."""
        source = self._sources.setdefault(auth, _CredentialSource())
        if source.credentials is None or _needs_refresh(source.credentials):
            await self._refresh(auth, source)
        return _with_signature(auth, request, source.credentials.get_frozen_credentials())

    async def _refresh(self, auth: AWS, source: _CredentialSource) -> None:
        """Load or renew keys, in one task for all waiting requests."""
        if source.load is None or source.load.done():
            source.load = self._context.tasks.start(_load_into(source, auth))
        try:
            async with asyncio.timeout(_LOAD_TIMEOUT):
                failure = await asyncio.shield(source.load)
        except TimeoutError:
            failure = f"no result within {_LOAD_TIMEOUT:g} s"
        if failure:
            raise UpstreamError(UpstreamFailure.TOKEN, f"AWS keys are missing: {failure}")


async def _load_into(source: _CredentialSource, auth: AWS) -> str:
    """Load the keys of a source in a thread. Return the reason of a failure, or ""."""
    try:
        # A thread, since botocore reads files and sends requests synchronously.
        source.credentials = await asyncio.to_thread(_load_credentials, auth, source.credentials)
    except Exception as error:  # botocore raises errors of files, of connections and its own
        return excerpt(f"{type(error).__name__}: {error}", 300)
    return "" if source.credentials else "expected keys in the environment, in a file or from a role"


def _load_credentials(auth: AWS, credentials: Any) -> Any:
    """Return botocore's object with valid keys, or None if botocore finds no keys. Blocks."""
    # Imported here, since the import of botocore takes long and blocks the event loop.
    import botocore.auth
    import botocore.credentials
    import botocore.session

    if auth.keys:
        return botocore.credentials.Credentials(*auth.keys)
    credentials = credentials or botocore.session.get_session().get_credentials()
    if credentials:
        credentials.get_frozen_credentials()  # renews expired keys
    return credentials


def _needs_refresh(credentials: Any) -> bool:
    """Return whether a use of the keys would make botocore renew the keys, and so block."""
    refresh_needed = getattr(credentials, "refresh_needed", None)
    return refresh_needed is not None and refresh_needed()


def _with_signature(auth: AWS, request: UpstreamRequest, keys: Any) -> UpstreamRequest:
    """Return the request with the headers of its signature."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    # Other headers are not signed, since a proxy on the way to the upstream may change other headers.
    headers = {
        name: value
        for name, value in request.headers.items()
        if name.lower() == "content-type" or name.lower().startswith("x-amz-")
    }
    # Set explicitly, so that the signed host is the sent host, however a library derives a host from a URL.
    headers["Host"] = host_of(request)
    method, body = sent_method_and_body(request)
    aws_request = AWSRequest(method, request.urls[0], headers=headers, data=body)
    SigV4Auth(keys, auth.service, auth.region).add_auth(aws_request)
    return with_headers(request, dict(aws_request.headers.items()))
