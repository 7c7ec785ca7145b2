"""The log of a test, written to a file."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from bridge.telemetry.logging import configure, flush

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CapturedLog", "captured_log"]


class CapturedLog:
    """The lines of the log so far."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @property
    def text(self) -> str:
        """The whole log."""
        flush()
        self._file.seek(0)
        return self._file.read().decode()

    @property
    def all(self) -> list[dict[str, Any]]:
        """Every line."""
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of an event."""
        return [line for line in self.all if line["event"] == event]


@contextmanager
def captured_log() -> Iterator[CapturedLog]:
    """Capture the log of a block."""
    logger, root = logging.getLogger("bridge"), logging.getLogger()
    before = logger.handlers[:], root.handlers[:], logger.level, logger.propagate
    with TemporaryFile() as file:
        configure(file.fileno())
        try:
            yield CapturedLog(file)
        finally:
            flush()
            logger.handlers[:], root.handlers[:], _, logger.propagate = before
            logger.setLevel(before[2])
