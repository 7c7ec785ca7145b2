"""The head of an HTTP/1.1 request, as bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.core.headers import RequestHeaders

if TYPE_CHECKING:
    from bridge.routes.rules.request_template import UpstreamRequest

__all__ = ["request_head", "split_url"]

_URL = re.compile(r"([^:/?#]+://[^/?#]*)([^#]*)")


def split_url(url: str) -> tuple[str, str]:
    """Return the origin of a URL (scheme, host and port) and the target of its request line.

    Both are as written, since some upstreams and signatures depend on it; `urllib` and `yarl` normalize.
    """
    match = _URL.match(url)
    if match is None:
        return url, "/"
    origin, target = match.groups()
    return origin, target if target.startswith("/") else f"/{target}"


def request_head(request: UpstreamRequest, target: str, defaults: RequestHeaders) -> bytes:
    """Return the request line and headers: the request's, and those of `defaults` that the request lacks."""
    headers, body = request.headers, request.body
    if not defaults.names.isdisjoint(headers.names):
        rest = {name: value for name, value in defaults.items() if name.lower() not in headers.names}
        defaults = RequestHeaders(rest)
    length = f"Content-Length: {len(body or b'')}\r\n" if body is not None or request.method != "GET" else ""
    return f"{request.method} {target} HTTP/1.1\r\n{defaults.lines}{headers.lines}{length}\r\n".encode()
