"""One line per request: JSON, or words for a terminal. No content and no secret is ever in it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

from bridge import json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["log", "set_up"]

_logger = logging.getLogger("bridge")


def set_up(stream: TextIO = sys.stderr) -> None:
    """Send the lines to a stream, as suits it."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_ForPeople() if stream.isatty() else _ForMachines())
    _logger.handlers[:] = [handler]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False


def log(event: str, level: int = logging.INFO, /, **members: Any) -> None:
    """Write one line. Members that are None are left out."""
    if _logger.isEnabledFor(level):
        said = {name: value for name, value in members.items() if value is not None}
        # Made and handled directly: who called is told nowhere, and finding it costs more than the line.
        record = _logger.makeRecord(_logger.name, level, "", 0, event, (), None, extra={"members": said})
        _logger.handle(record)


class _ForMachines(logging.Formatter):
    """One object of JSON. The seconds of a line are those of the line before, as a rule."""

    _second = 0
    _shown = ""

    def format(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            self._second, self._shown = second, self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        line = {
            "time": f"{self._shown}.{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_members(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line).decode()


class _ForPeople(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        words = " ".join(f"{name}={value}" for name, value in _members(record).items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.getMessage()} {words}"
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def _members(record: logging.LogRecord) -> Mapping[str, Any]:
    members = getattr(record, "members", {})
    return members if isinstance(members, dict) else {}
