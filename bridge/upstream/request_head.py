"""The head of an HTTP/1.1 request, as bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def request_head(request: UpstreamRequest, target: str, defaults: Mapping[str, str]) -> bytes:
    """Return the request line and headers.

    `defaults`: header lines by lower-case name, for requests without a header of that name. Header values
    cannot contain line breaks, since the templates reject them.
    """
    headers, body = request.headers, request.body
    names = set(map(str.lower, headers))
    lines = [line for name, line in defaults.items() if name not in names]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if body is not None or request.method != "GET":
        lines.append(f"Content-Length: {len(body) if body else 0}\r\n")
    return f"{request.method} {target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()
