"""Requests as bytes."""

from __future__ import annotations

import json

from tests.raw_client import CHAT, HELLO

__all__ = ["BODY", "ROUTES", "chunked", "raw_request"]

ROUTES = 'routes: [{models: m, upstream: "${UPSTREAM}", limits: {body: 1MiB}}]'
BODY = json.dumps(HELLO).encode()


def raw_request(
    *headers: str,
    method: str = "POST",
    target: str = CHAT,
    body: bytes = BODY,
    version: str = "HTTP/1.1",
    host: str = "Host: bridge\r\n",
) -> bytes:
    """Return the bytes of a request, with a Content-Length if the body is not empty."""
    fields = [*headers, f"Content-Length: {len(body)}"] if body else headers
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"{method} {target} {version}\r\n{host}{lines}\r\n".encode("latin-1") + body


def chunked(*headers: str, body: bytes, version: str = "HTTP/1.1") -> bytes:
    """Return the bytes of a request with these bytes as the encoded body."""
    return raw_request("Transfer-Encoding: chunked", *headers, body=b"", version=version) + body
