"""Origins and query strings of URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["append_query", "encode_query", "origin"]

_PORTS = {"http": 80, "https": 443}


def encode_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and values as a query string, with spaces as %20, which every server decodes."""
    return "&".join(
        f"{quote(name, safe='')}={quote(value, safe='', errors='replace')}" for name, value in pairs
    )


def append_query(url: str, query: str) -> str:
    """Return a URL with a query string after the query that the URL has already."""
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"


def origin(url: str) -> str | None:
    """Return scheme, host and port of a URL; None if the URL lacks one of them."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname and port else None
