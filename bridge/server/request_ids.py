"""Ids of requests: 32 hexadecimal digits, all random, so that clients cannot count the requests of others."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["request_ids"]

_ID_SIZE = 16  # bytes
_BATCH = 256  # ids; reading random bytes from the system for each id costs more than the rest of it


def request_ids() -> Iterator[str]:
    """Yield ids, without an end."""
    while True:
        digits = token_hex(_ID_SIZE * _BATCH)
        for start in range(0, len(digits), 2 * _ID_SIZE):
            yield digits[start : start + 2 * _ID_SIZE]
