"""The log: one line for each event, as JSON, or as words on a terminal. It holds no content and no secret."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from bridge.core import json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["configure", "log", "log_members"]

_MILLISECONDS = [f".{number:03d}" for number in range(1000)]  # formatting costs a quarter of a log line

_logger = logging.getLogger("bridge")


def configure(stream: TextIO = sys.stderr) -> None:
    """Write the log to a stream, in the form that suits the stream."""
    handler = _ConsoleHandler(stream) if stream.isatty() else _JSONHandler(stream)
    _logger.handlers[:] = [handler]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False


def log(event: str, level: int = logging.INFO, /, **members: Any) -> None:
    """Write one line. Members that are None are left out."""
    if None in members.values():
        members = {name: value for name, value in members.items() if value is not None}
    log_members(event, members, level)


def log_members(event: str, members: Mapping[str, Any], level: int = logging.INFO) -> None:
    """Write one line."""
    if not _logger.isEnabledFor(level):
        return
    match _logger.handlers:
        case [_JSONHandler() as handler]:
            handler.write(event, level, time.time(), members)
        case _:  # the handlers of an application that embeds the bridge
            _logger.log(level, event, extra={"members": members})


class _JSONHandler(logging.StreamHandler[TextIO]):
    """A handler that writes lines of JSON.

    The bridge's own lines are written without a LogRecord, which would cost more than the line.
    """

    _second = -1  # seconds of Unix time that `_time_text` belongs to
    _time_text = ""

    def write(self, event: str, level: int, at: float, members: Mapping[str, Any]) -> None:
        """Write one line. `at`: seconds of Unix time."""
        name = logging.getLevelName(level).lower()
        line = json.dumps({"time": self._format_time(at), "level": name, "event": event, **members})
        try:
            self.stream.write(line.decode() + "\n")
            self.stream.flush()
        except (OSError, ValueError):  # the reader of the stream has closed it
            pass

    def _format_time(self, at: float) -> str:
        second = int(at)
        if second != self._second:
            self._second = second
            self._time_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(second))
        return self._time_text + _MILLISECONDS[int((at - second) * 1000)]

    def emit(self, record: logging.LogRecord) -> None:
        members = _members(record)
        if record.exc_info:
            members = {**members, "exception": logging.Formatter().formatException(record.exc_info)}
        self.write(record.getMessage(), record.levelno, record.created, members)


class _ConsoleHandler(logging.StreamHandler[TextIO]):
    """A handler that writes lines of words."""

    def format(self, record: logging.LogRecord) -> str:
        formatter = logging.Formatter()
        words = " ".join(f"{name}={_printable(str(value))}" for name, value in _members(record).items())
        line = f"{formatter.formatTime(record, '%H:%M:%S')} {record.getMessage()} {words}"
        return line + ("\n" + formatter.formatException(record.exc_info) if record.exc_info else "")


def _printable(text: str) -> str:
    """Return a text without control characters: a client's path must not write to the terminal."""
    return text if text.isprintable() else ascii(text)


def _members(record: logging.LogRecord) -> Mapping[str, Any]:
    members = getattr(record, "members", {})
    return members if isinstance(members, dict) else {}
