"""Requests signed with a keyed hash. The file defines the signed text and the place of the signature."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from email.utils import formatdate
from typing import TYPE_CHECKING

from yarl import URL

from bridge.expressions.scope import Scope
from bridge.upstream.auth.signing import sent_method_and_body, with_headers, with_query

if TYPE_CHECKING:
    from bridge.routes.rules.auth_rules import HMAC
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.upstream.auth.signing import SignerContext

__all__ = ["HMACSigning", "host_of"]


class HMACSigning:
    """The signer of HMAC rules, without state."""

    def __init__(self, context: SignerContext) -> None:
        self._context = context

    async def sign(
        self, auth: HMAC, request: UpstreamRequest, rejected: UpstreamRequest | None
    ) -> UpstreamRequest:
        """Return the request with its signature in headers and query."""
        now = self._context.now()
        url = URL(request.urls[0], encoded=True)
        method, body = sent_method_and_body(request)
        variables = {
            "method": method,
            "host": host_of(request),
            "path": url.raw_path or "/",
            "query": url.raw_query_string,
            "date": formatdate(now, usegmt=True),
            "now": int(now),
            "body": body.decode("utf-8", "surrogateescape"),
            "key": auth.key,
        }
        text = str(auth.text(Scope(variables))).encode("utf-8", "surrogateescape")
        digest = hmac.digest(auth.secret.encode(), text, _HASHES[auth.algorithm])
        scope = Scope(variables | {"signature": _ENCODINGS[auth.encoding](digest)})
        query = {name: str(render(scope)) for name, render in auth.query.items()}
        headers = {name: str(render(scope)) for name, render in auth.headers.items()}
        return with_headers(with_query(request, query), headers)


def host_of(request: UpstreamRequest) -> str:
    """Return the Host header as sent: of the route, or else of the URL, without the scheme's default port."""
    hosts = [value for name, value in request.headers.items() if name.lower() == "host"]
    return hosts[0] if hosts else str(URL(request.urls[0], encoded=True).host_port_subcomponent)


_HASHES = {"sha256": hashlib.sha256, "sha1": hashlib.sha1, "sha512": hashlib.sha512}
_ENCODINGS = {"base64": lambda digest: b64encode(digest).decode(), "hex": bytes.hex}
