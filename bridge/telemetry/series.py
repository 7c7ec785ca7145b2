"""The numbers of all metrics, in one array: a few hundred bytes for each route, and cheap to add to.

    at = series.block(GEN_AI)[labels]       the place of the numbers of these label values
    series.numbers[at] += 1

With several workers, each has its numbers in a `SharedMemory` that the parent makes before it forks: the
worker of the admin port reads those of all, and a worker that replaces another continues its counters.
"""

from __future__ import annotations

import mmap
from array import array
from typing import TYPE_CHECKING

from bridge.core import json
from bridge.telemetry.instruments import BLOCK_SIZES, GAUGES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Block", "Labels", "Series", "SharedMemory"]

Labels = tuple[str, ...]  # the values of the labels of an instrument

# Label values come from the routes file, but reloads may bring new routes without end. Numbers beyond the
# limit are added to a block that nothing reports.
_MAX_NUMBERS = 2**21  # 16 MiB, for 35,000 combinations of route, operation and error type
_MAX_INDEX = 2**24  # bytes of the index in shared memory
_MAX_READ = 2**16  # bytes of the index that are read at once, in less than a millisecond
_UNREPORTED = 0  # the place of the block that nothing reports
_FIRST = max(BLOCK_SIZES.values())  # the place of the first block that is reported
_WORD = 8  # bytes of a number


class SharedMemory:
    """Numbers in memory that a parent and its workers share, and an index of what the numbers are.

    The index is a series of lines of JSON, `[block, *labels]`, in the order of the places of the numbers.
    Pages that are not used take no memory.

    Attributes:
        numbers: The numbers.
    """

    def __init__(self) -> None:
        memory = memoryview(mmap.mmap(-1, _WORD + _MAX_INDEX + _WORD * _MAX_NUMBERS))
        self._written = memory[:_WORD].cast("Q")  # bytes of the index that are complete
        self._index = memory[_WORD : _WORD + _MAX_INDEX]
        self.numbers = memory[_WORD + _MAX_INDEX :].cast("d")

    def add_entry(self, block: str, labels: Labels) -> bool:
        """Add an entry to the index. Return whether there was room."""
        line = json.dumps([block, *labels]) + b"\n"
        start = self._written[0]
        if start + len(line) > _MAX_INDEX:
            return False
        self._index[start : start + len(line)] = line
        self._written[0] = start + len(line)  # after the line: other processes read up to here
        return True

    def read_entries(self, start: int) -> bytes:
        """Return some lines of the index from a place in it; nothing at its end."""
        data = bytes(self._index[start : min(self._written[0], start + _MAX_READ)])
        return data[: data.rfind(b"\n") + 1]


class Block(dict[Labels, int]):
    """The places of the numbers of one instrument, or of several with the same labels, by label values."""

    __slots__ = ("_name", "_series")

    def __init__(self, series: Series, name: str) -> None:
        super().__init__()
        self._series = series
        self._name = name

    def __missing__(self, labels: Labels) -> int:
        return self._series.add(self._name, labels)


class Series:
    """The numbers of one process.

    Attributes:
        numbers: All numbers.
        blocks: The places of the numbers by block.
    """

    def __init__(self, shared: SharedMemory | None = None) -> None:
        """Make numbers of a process of its own, or continue those in shared memory."""
        self._shared = shared
        self._read = 0  # bytes of the index
        self._used = _FIRST
        self.numbers: array[float] | memoryview[float] = (
            array("d", bytes(_WORD * _FIRST)) if shared is None else shared.numbers
        )
        self.blocks: Mapping[str, Block] = {name: Block(self, name) for name in BLOCK_SIZES}
        self._read_all()

    def add(self, block: str, labels: Labels) -> int:
        """Return the place of new numbers, which are zero."""
        if self._used + BLOCK_SIZES[block] > _MAX_NUMBERS:
            return _UNREPORTED
        if isinstance(self.numbers, array):
            self.numbers.extend([0.0] * BLOCK_SIZES[block])
            return self._place(block, labels)
        if self._shared is None or not self._shared.add_entry(block, labels):
            return _UNREPORTED
        self._read_all()
        return self.blocks[block][labels]

    def refresh(self) -> bool:
        """Read new entries of the index in shared memory. Return whether there were any."""
        lines = b"" if self._shared is None else self._shared.read_entries(self._read)
        self._read += len(lines)
        for line in lines.splitlines():
            block, *labels = json.loads(line)
            self._place(block, tuple(labels))
        return bool(lines)

    def clear_gauges(self) -> None:
        """Set to zero what counts the present state of a process that has ended."""
        for name in GAUGES:
            for at in self.blocks[name].values():
                self.numbers[at] = 0.0

    def _read_all(self) -> None:
        while self.refresh():
            pass

    def _place(self, block: str, labels: Labels) -> int:
        at = self.blocks[block][labels] = self._used
        self._used += BLOCK_SIZES[block]
        return at
