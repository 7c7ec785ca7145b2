"""The amounts that clients have left of their rates, in memory that all workers share.

The parent makes the memory before it forks the workers. A cell belongs to a bucket by a number that is made
of the key and the rate, so that all workers find the same cell, also after a reload. The workers' clocks are
one: the time since the start of the machine. There is no lock: if two workers charge a bucket within the same
microsecond, one charge is lost.
"""

from __future__ import annotations

import mmap
from hashlib import blake2b

__all__ = ["SharedRates"]

_CELLS = 2**14  # buckets, of all files that are loaded in the life of the process
_WORD = 8  # bytes of a number


class SharedRates:
    """Cells, and the numbers of the buckets that the cells belong to. A cell of the number 0 is free.

    cells: the states of the buckets.
    """

    def __init__(self) -> None:
        memory = memoryview(mmap.mmap(-1, 2 * _WORD * _CELLS))
        self._owners = memory[: _WORD * _CELLS].cast("Q")
        self.cells = memory[_WORD * _CELLS :].cast("d")

    def find(self, *parts: object) -> int | None:
        """Return the place of a bucket's cell; None if all cells belong to others."""
        digest = blake2b(repr(parts).encode(), digest_size=_WORD).digest()
        owner = int.from_bytes(digest, "big") or 1
        for step in range(_CELLS):
            at = (owner + step) % _CELLS
            if self._owners[at] in (0, owner):
                self._owners[at] = owner
                return at
        return None
