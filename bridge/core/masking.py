"""Masking of secrets in text that people read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from bridge.core import json

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["mask"]

_MIN_LENGTH = 4  # characters; a shorter text occurs too often by chance


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every secret in it replaced by asterisks, however the secret is encoded."""
    encoded = {form for secret in secrets if len(secret) >= _MIN_LENGTH for form in _encodings(secret)}
    for form in sorted(encoded, key=len, reverse=True):  # a secret may contain another one
        text = text.replace(form, "***")
    return text


def _encodings(secret: str) -> tuple[str, ...]:
    """Return a secret as written, as part of a URL, of a form, and of a JSON string."""
    quoted = quote(secret, safe="", errors="replace")
    return secret, quoted, quote_plus(secret, errors="replace"), json.dumps(secret).decode()[1:-1]
