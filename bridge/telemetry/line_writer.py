"""A thread that writes the lines of the log, so that a reader that stands still delays no request.

    writer.put(line)      queue ─▶ thread ─▶ file descriptor           from any thread, without a wait
    writer.flush(2.0)     wait until the queue is written              at the end of the process

A write to a full pipe waits for the reader of the pipe. Setting the descriptor to non-blocking instead would
change the descriptor for all processes that share the descriptor.
"""

from __future__ import annotations

import os
import select
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LineWriter"]

_MAX_LINES = 10_000  # lines that wait to be written; 3 MB of ordinary lines
# The thread collects lines for this long, in seconds: a thread that wakes for each line would take the
# interpreter from the event loop for each line.
_BATCH_INTERVAL = 0.01
_MAX_WRITE = getattr(select, "PIPE_BUF", 512)  # bytes; several workers write to one pipe without mixing lines


class LineWriter:
    """A bounded queue of lines, and the thread that writes the lines to a file descriptor.

    Attributes:
        on_drop: Called with the number of lines that were dropped, from any thread.
    """

    def __init__(self, descriptor: int, report: Callable[[int], bytes]) -> None:
        """Start the thread. `report` makes the line that reports a number of dropped lines."""
        self._descriptor = descriptor
        self._report = report
        self._lines: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._lock = threading.Lock()  # of `_dropped`, and of calls of `on_drop`
        self._dropped = 0  # lines
        self._reported = 0  # dropped lines that a line of the log reports
        self.on_drop: Callable[[int], None] = _ignore
        threading.Thread(target=self._run, name="log", daemon=True).start()

    @property
    def queued(self) -> int:
        """Return how many lines wait to be written."""
        return self._lines.qsize()

    def put(self, line: bytes) -> None:
        """Write a line, soon. Drop the line if too many wait."""
        if self._lines.qsize() >= _MAX_LINES:
            self._drop(1)
        else:
            self._lines.put(line)

    def flush(self, timeout: float) -> None:
        """Wait until all lines are written, for up to `timeout` seconds."""
        written = threading.Event()
        self._lines.put(written)
        written.wait(timeout)

    def _drop(self, number: int) -> None:
        with self._lock:
            self._dropped += number
            self.on_drop(number)

    def _run(self) -> None:
        item: bytes | threading.Event | None
        while True:
            item = self._lines.get()
            while item is not None:
                item = self._write_batch(item)
            time.sleep(_BATCH_INTERVAL)

    def _write_batch(self, item: bytes | threading.Event) -> bytes | threading.Event | None:
        """Write an item of the queue and those that fit into the same write. Return the next item."""
        batch: list[bytes] = []
        size = 0
        following: bytes | threading.Event | None = item
        while isinstance(following, bytes) and (not batch or size + len(following) <= _MAX_WRITE):
            batch.append(following)
            size += len(following)
            following = None if self._lines.empty() else self._lines.get()
        if batch:
            if not self._write(b"".join(batch)):
                self._drop(len(batch))
            elif unreported := self._dropped - self._reported:
                self._reported += unreported if self._write(self._report(unreported)) else 0
        if isinstance(following, threading.Event):
            following.set()
            return None
        return following

    def _write(self, data: bytes) -> bool:
        """Write bytes. Return whether writing works."""
        try:
            while data:  # a signal may interrupt a write
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # the reader has closed the pipe, or the disk is full
            return False
        return True


def _ignore(_: int) -> None:
    """Do nothing."""
