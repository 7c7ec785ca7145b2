"""Masking of secrets in text that people read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["mask"]

_MIN_LENGTH = 4  # characters; a shorter text occurs too often by chance


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every secret in it replaced by asterisks."""
    for secret in sorted(secrets, key=len, reverse=True):  # a secret may contain another one
        if len(secret) >= _MIN_LENGTH:
            text = text.replace(secret, "***")
    return text
