"""Query strings of URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["append_query", "encode_query"]


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
