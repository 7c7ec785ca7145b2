"""Masking of secrets in text that people read."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["mask", "mask_values"]

_MIN_LENGTH = 4  # characters; a shorter text occurs too often by chance

# Credentials that the bridge makes, such as the token of a token server, are in no file. A repeated header
# gives them away; a word of fewer characters is probably a word.
_CREDENTIAL = re.compile(r"\b(Bearer|Basic)( +|%20|\+)[\w.~+/=%-]{20,}", re.IGNORECASE)


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return the text with every secret in it replaced by asterisks, however the secret is encoded."""
    encoded = {form for secret in secrets if len(secret) >= _MIN_LENGTH for form in _encodings(secret)}
    forms = sorted(encoded, key=len, reverse=True)  # a secret may contain another one
    for form in forms:
        text = text.replace(form, "***")
    if "…" in text:  # the beginning of a secret may stand before each place where a text was cut
        *cut, rest = text.split("…")
        text = "…".join([*(_mask_end(part, forms) for part in cut), rest])
    return _CREDENTIAL.sub(r"\1\2***", text)


def mask_values(text: str, secrets: Iterable[str]) -> str:
    """Return the text with secrets masked, also short ones where they are a whole value.

    For texts such as URLs and JSON, in which a value has delimiters. In prose, a short secret may be a word.
    """
    secrets = list(secrets)
    text = mask(text, secrets)
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        if len(secret) < _MIN_LENGTH:
            text = re.sub(rf'(?<![^=":/@?& ]){re.escape(secret)}(?![^=":/@?&#, ])', "***", text)
    return text


def _mask_end(text: str, forms: Iterable[str]) -> str:
    """Return a text that was cut, with the beginning of a secret at its end replaced by asterisks."""
    for form in forms:
        for length in range(min(len(form), len(text)), _MIN_LENGTH - 1, -1):
            if text.endswith(form[:length]):
                return text[:-length] + "***"
    return text


def _encodings(secret: str) -> set[str]:
    """Return a secret as written, on one line, as part of a URL, a form and a JSON string, and in base64."""
    return (
        {
            secret,
            " ".join(secret.split()),  # as in an excerpt
            quote(secret, errors="replace"),
            quote(secret, safe="", errors="replace"),
            quote_plus(secret, errors="replace"),
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            b64encode(secret.encode("utf-8", "surrogatepass")).decode().rstrip("="),
        }
        - {""}
    )
