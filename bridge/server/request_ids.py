"""Names for requests and answers: 32 hexadecimal digits, no two of them alike."""

from __future__ import annotations

from itertools import count
from secrets import token_hex

__all__ = ["RequestIds"]


class RequestIds:
    """Begins with chance, so that no other process gives the same ones, and counts on."""

    __slots__ = ("_counted", "_front")

    def __init__(self) -> None:
        self._front = token_hex(10)
        self._counted = count()

    def __call__(self) -> str:
        return f"{self._front}{next(self._counted):012x}"
