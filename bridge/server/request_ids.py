"""Ids of requests: 32 hexadecimal digits."""

from __future__ import annotations

from itertools import count
from secrets import token_hex

__all__ = ["RequestIds"]


class RequestIds:
    """A source of ids: a random prefix, which differs in each process, and a counter."""

    __slots__ = ("_counter", "_prefix")

    def __init__(self) -> None:
        self._prefix = token_hex(10)
        self._counter = count()

    def __call__(self) -> str:
        return self._prefix + next(self._counter).to_bytes(6, "big").hex()
