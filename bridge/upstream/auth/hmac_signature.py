"""Requests that are signed with a keyed hash: of what, and where that stands, the file says."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from email.utils import formatdate
from typing import TYPE_CHECKING

from yarl import URL

from bridge.expressions.scope import Scope
from bridge.upstream.auth.signing import wire_method_and_body, with_headers, with_query

if TYPE_CHECKING:
    from bridge.routes.rules.auth_rules import HMAC
    from bridge.routes.rules.request_template import UpstreamRequest
    from bridge.upstream.auth.signing import SignerContext

__all__ = ["HMACSigning", "host_of"]


class HMACSigning:
    """Signs each request by itself; nothing is kept."""

    def __init__(self, tools: SignerContext) -> None:
        self._tools = tools

    async def sign(
        self, auth: HMAC, request: UpstreamRequest, refused: UpstreamRequest | None
    ) -> UpstreamRequest:
        """The request with its signature in headers and query."""
        now = self._tools.now()
        url = URL(request.urls[0], encoded=True)
        method, body = wire_method_and_body(request)
        seen = {
            "method": method,
            "host": host_of(request),
            "path": url.raw_path or "/",
            "query": url.raw_query_string,
            "date": formatdate(now, usegmt=True),
            "now": int(now),
            "body": body.decode("utf-8", "surrogateescape"),
            "key": auth.key,
        }
        text = str(auth.text(Scope(seen))).encode("utf-8", "surrogateescape")
        digest = hmac.digest(auth.secret.encode(), text, _HASHES[auth.algorithm])
        scope = Scope(seen | {"signature": _ENCODINGS[auth.encoding](digest)})
        shown = with_query(request, {name: str(make(scope)) for name, make in auth.query.items()})
        return with_headers(shown, {name: str(make(scope)) for name, make in auth.headers.items()})


def host_of(request: UpstreamRequest) -> str:
    """The Host header that goes out: the route's own, or the URL's, without its port where that is usual."""
    own = [value for name, value in request.headers.items() if name.lower() == "host"]
    return own[0] if own else str(URL(request.urls[0], encoded=True).host_port_subcomponent)


_HASHES = {"sha256": hashlib.sha256, "sha1": hashlib.sha1, "sha512": hashlib.sha512}
_ENCODINGS = {"base64": lambda digest: b64encode(digest).decode(), "hex": bytes.hex}
