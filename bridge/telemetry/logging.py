"""The log: one line for each event, as JSON, or as words on a terminal. It holds no content and no secret."""

from __future__ import annotations

import logging
import os
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.telemetry.line_writer import LineWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["configure", "count_dropped_lines", "flush", "log", "log_members"]

_STDERR = 2
_FLUSH_TIMEOUT = 2.0  # seconds; a reader that stands still must not keep the process alive
_MILLISECONDS = [f".{number:03d}Z" for number in range(1000)]  # formatting costs a quarter of a log line

_logger = logging.getLogger("bridge")


def configure(descriptor: int = _STDERR) -> None:
    """Write the log to a file descriptor, in the form that suits what the descriptor leads to.

    The warnings of libraries are written too: their own way to standard error would block the event loop.
    """
    handler = _ConsoleHandler(descriptor) if os.isatty(descriptor) else _JSONHandler(descriptor)
    _logger.handlers[:] = [handler]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False
    logging.getLogger().handlers[:] = [handler]


def flush() -> None:
    """Wait until every line is written, but not for a reader that stands still."""
    for handler in _logger.handlers:
        if isinstance(handler, _LineHandler):
            handler.writer.flush(_FLUSH_TIMEOUT)


def count_dropped_lines(count: Callable[[int], None]) -> None:
    """Call a function with the number of lines that were dropped, whenever lines are dropped."""
    for handler in _logger.handlers:
        if isinstance(handler, _LineHandler):
            handler.writer.on_drop = count


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


class _LineHandler(logging.Handler):
    """A handler that writes lines in a thread."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.writer = LineWriter(descriptor, self._dropped_line)

    def line(self, record: logging.LogRecord) -> bytes:
        """Return a record as a line."""
        raise NotImplementedError

    def emit(self, record: logging.LogRecord) -> None:
        self.writer.put(self.line(record))

    def _dropped_line(self, number: int) -> bytes:
        members = {"members": {"lines": number}}
        return self.line(
            logging.makeLogRecord({"msg": "log lines dropped", "levelno": logging.WARNING, **members})
        )


class _JSONHandler(_LineHandler):
    """A handler that writes lines of JSON.

    The bridge's own lines are written without a LogRecord, which would cost more than the line.
    """

    _second = -1  # seconds of Unix time that `_time_text` belongs to
    _time_text = ""

    def write(self, event: str, level: int, at: float, members: Mapping[str, Any]) -> None:
        """Write one line. `at`: seconds of Unix time."""
        self.writer.put(self._line(event, level, at, members))

    def line(self, record: logging.LogRecord) -> bytes:
        members = _members(record)
        if record.exc_info:
            members = {**members, "exception": logging.Formatter().formatException(record.exc_info)}
        return self._line(record.getMessage(), record.levelno, record.created, members)

    def _line(self, event: str, level: int, at: float, members: Mapping[str, Any]) -> bytes:
        # The members continue the object: a dict of everything would cost a third of the line.
        head = f'{{"time":"{self._format_time(at)}",{_level_and_event(level, event)}'
        return head.encode() + (b"," + json.dumps(members)[1:] if members else b"}") + b"\n"

    def _format_time(self, at: float) -> str:
        """Return the time as RFC 3339 in UTC."""
        second = int(at)
        if second != self._second:
            self._time_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return self._time_text + _MILLISECONDS[int((at - second) * 1000)]


class _ConsoleHandler(_LineHandler):
    """A handler that writes lines of words."""

    def line(self, record: logging.LogRecord) -> bytes:
        formatter = logging.Formatter()
        words = " ".join(f"{name}={_printable(str(value))}" for name, value in _members(record).items())
        line = f"{formatter.formatTime(record, '%H:%M:%S')} {record.getMessage()} {words}"
        if record.exc_info:
            line += "\n" + formatter.formatException(record.exc_info)
        return (line + "\n").encode("utf-8", "backslashreplace")


@lru_cache(maxsize=100)  # nearly all lines have an event of the bridge's own
def _level_and_event(level: int, event: str) -> str:
    members = {"level": logging.getLevelName(level).lower(), "event": event}
    return json.dumps(members).decode()[1:-1]


def _printable(text: str) -> str:
    """Return a text without control characters: a client's path must not write to the terminal."""
    return text if text.isprintable() else ascii(text)


def _members(record: logging.LogRecord) -> Mapping[str, Any]:
    members = getattr(record, "members", {})
    return members if isinstance(members, dict) else {}
