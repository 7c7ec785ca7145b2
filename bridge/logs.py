"""One line per request: JSON, or words for a terminal. No content and no secret is ever in it."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from bridge import json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["log", "set_up"]

_logger = logging.getLogger("bridge")


def set_up(stream: TextIO = sys.stderr) -> None:
    """Send the lines to a stream, as suits it."""
    handler = _Lines(stream)
    handler.setFormatter(_ForPeople() if stream.isatty() else _ForMachines())
    _logger.handlers[:] = [handler]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False


def log(event: str, level: int = logging.INFO, /, **members: Any) -> None:
    """Write one line. Members that are None are left out."""
    if not _logger.isEnabledFor(level):
        return
    if None in members.values():
        members = {name: value for name, value in members.items() if value is not None}
    match _logger.handlers:
        case [_Lines() as lines]:
            lines.say(event, level, members)
        case _:  # whoever embeds the bridge sees to its lines
            _logger.handle(_record(event, level, members))


def _record(event: str, level: int, members: Mapping[str, Any]) -> logging.LogRecord:
    return _logger.makeRecord(_logger.name, level, "", 0, event, (), None, extra={"members": members})


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines: ours as they are made, without a record of who called, which costs more than the line."""

    def say(self, event: str, level: int, members: Mapping[str, Any]) -> None:
        """Write one of ours."""
        formatter = self.formatter
        if isinstance(formatter, _ForMachines):
            line = formatter.line(event, level, time.time(), members)
            with suppress(OSError, ValueError):  # nobody reads it any more
                self.stream.write(line + self.terminator)
                self.stream.flush()
        else:
            self.handle(_record(event, level, members))


class _ForMachines(logging.Formatter):
    """One object of JSON. The seconds of a line are those of the line before, as a rule."""

    _second = 0
    _shown = ""

    def line(self, event: str, level: int, now: float, members: Mapping[str, Any]) -> str:
        """What happened, and when, in seconds of Unix time."""
        second = int(now)
        if second != self._second:
            self._second, self._shown = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(second))
        said = {
            "time": f"{self._shown}.{int((now - second) * 1000):03d}",
            "level": logging.getLevelName(level).lower(),
            "event": event,
            **members,
        }
        return json.dumps(said).decode()

    def format(self, record: logging.LogRecord) -> str:
        members = _members(record)
        if record.exc_info:
            members = {**members, "exception": self.formatException(record.exc_info)}
        return self.line(record.getMessage(), record.levelno, record.created, members)


class _ForPeople(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        words = " ".join(f"{name}={value}" for name, value in _members(record).items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.getMessage()} {words}"
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def _members(record: logging.LogRecord) -> Mapping[str, Any]:
    members = getattr(record, "members", {})
    return members if isinstance(members, dict) else {}
