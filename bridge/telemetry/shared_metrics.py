"""The metrics of several workers: each worker writes its own to a file, and one reads the files of all.

A worker that replaces another continues the counters in the file of the worker before. A worker that is
killed loses what it counted since the file was last written.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.core import json

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.telemetry.metrics import Metrics, Snapshot

__all__ = ["SharedMetrics"]

_WRITE_INTERVAL = 1.0  # seconds


class SharedMetrics:
    """The file of one worker's metrics, in a folder with those of the other workers."""

    def __init__(self, metrics: Metrics, file: Path) -> None:
        self._metrics = metrics
        self._file = file
        self._written = b""
        if file.exists():
            metrics.restore(_read(file))
        self.write()

    async def write_regularly(self) -> None:
        """Write the file whenever numbers have changed, once a second."""
        while True:
            await asyncio.sleep(_WRITE_INTERVAL)
            self.write()

    def write(self) -> None:
        """Write the numbers as they are now. A reader finds the old file or the new one, both complete."""
        data = json.dumps({name: [*series.items()] for name, series in self._metrics.snapshot().items()})
        if data == self._written:
            return
        unfinished = self._file.with_suffix(".part")
        unfinished.write_bytes(data)
        unfinished.replace(self._file)
        self._written = data

    def read_all(self) -> list[Snapshot]:
        """Return the numbers of all workers, those of this worker as they are now."""
        # What was reported once must not be lost with this worker: Prometheus takes a counter that decreases
        # for one that was reset. So the worker's own numbers, too, are reported from its file.
        self.write()
        return [_read(file) for file in self._file.parent.glob("*.json")]


def _read(file: Path) -> Snapshot:
    return {
        name: {tuple(labels): numbers for labels, numbers in series}
        for name, series in json.loads(file.read_bytes()).items()
    }
