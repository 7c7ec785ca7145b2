"""One line per request: JSON, or words for a terminal. No content and no secret is ever in it."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from bridge.core import json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["configure", "log", "log_all"]

_logger = logging.getLogger("bridge")


def configure(stream: TextIO = sys.stderr) -> None:
    """Send the lines to a stream, as suits it."""
    handler = _ConsoleHandler(stream) if stream.isatty() else _JSONHandler(stream)
    _logger.handlers[:] = [handler]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False


def log(event: str, level: int = logging.INFO, /, **members: Any) -> None:
    """Write one line. Members that are None are left out."""
    if not _logger.isEnabledFor(level):
        return
    if None in members.values():
        members = {name: value for name, value in members.items() if value is not None}
    _write(event, level, [(time.time(), members)])


def log_all(event: str, lines: list[tuple[float, dict[str, Any]]]) -> None:
    """Write the lines of what happened several times: when, in seconds of Unix time, and its members."""
    if lines and _logger.isEnabledFor(logging.INFO):
        _write(event, logging.INFO, lines)


def _write(event: str, level: int, lines: list[tuple[float, dict[str, Any]]]) -> None:
    match _logger.handlers:
        case [_JSONHandler() as handler]:
            handler.say(event, level, lines)
        case _:  # whoever embeds the bridge sees to its lines
            for at, members in lines:
                extra = {"members": members}
                record = _logger.makeRecord(_logger.name, level, "", 0, event, (), None, extra=extra)
                record.created = at
                _logger.handle(record)


class _JSONHandler(logging.StreamHandler[TextIO]):
    """Writes lines of JSON: ours without a record of who called, which costs more than the line."""

    _second = -1
    _shown = ""

    def say(self, event: str, level: int, lines: Iterable[tuple[float, Mapping[str, Any]]]) -> None:
        """What happened, and when, in seconds of Unix time."""
        word = logging.getLevelName(level).lower()
        out = [
            json.dumps({"time": self._time(at), "level": word, "event": event, **members})
            for at, members in lines
        ]
        with suppress(OSError, ValueError):  # nobody reads it any more
            self.stream.write((b"\n".join(out) + b"\n").decode())
            self.stream.flush()

    def _time(self, at: float) -> str:
        """The seconds are those of the line before, as a rule."""
        second = int(at)
        if second != self._second:
            self._second, self._shown = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(second))
        return f"{self._shown}.{int((at - second) * 1000):03d}"

    def emit(self, record: logging.LogRecord) -> None:
        members = _members(record)
        if record.exc_info:
            members = {**members, "exception": logging.Formatter().formatException(record.exc_info)}
        self.say(record.getMessage(), record.levelno, [(record.created, members)])


class _ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes lines of words."""

    def format(self, record: logging.LogRecord) -> str:
        shown = logging.Formatter()
        words = " ".join(f"{name}={value}" for name, value in _members(record).items())
        line = f"{shown.formatTime(record, '%H:%M:%S')} {record.getMessage()} {words}"
        return line + ("\n" + shown.formatException(record.exc_info) if record.exc_info else "")


def _members(record: logging.LogRecord) -> Mapping[str, Any]:
    members = getattr(record, "members", {})
    return members if isinstance(members, dict) else {}
