"""Reloads of the routes file: all or nothing, the last valid table is kept."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from bridge.core.errors import ConfigError
from bridge.file_stamp import file_stamp
from bridge.loader import load_routes
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.file_stamp import FileStamp
    from bridge.routes.rules.route import Route
    from bridge.routes.table import RouteTable
    from bridge.server.api import ServerState
    from bridge.telemetry.metrics import Metrics

__all__ = ["Reloader", "log_warnings"]

_AT_START = ("listen", "admin", "workers", "drain")
_POLL_INTERVAL = 1.0  # seconds between two checks of the file


def log_warnings(table: RouteTable) -> None:
    """Log the warnings of a routes file, a line for each, without the lines of the file."""
    for warning in table.warnings:
        log("warning in the routes file", logging.WARNING, warning=warning.summary)


def _any_changed(files: Mapping[str, FileStamp]) -> bool:
    return any(file_stamp(name) != stamp for name, stamp in files.items())


class Reloader:
    """The replacement of the table on request, and when the file changes.

    requested: set by whoever requests a reload.
    use_routes: called with the routes of a new table.
    """

    def __init__(
        self,
        file: str,
        variables: Mapping[str, str],
        stamp: FileStamp | None,
        files: Mapping[str, FileStamp],
        state: ServerState,
        metrics: Metrics,
        use_routes: Callable[[tuple[Route, ...]], None],
    ) -> None:
        self._file = file
        self._variables = variables
        self._stamp = stamp or file_stamp(file)
        self._files = files  # that the routes file names
        self._state = state
        self._metrics = metrics
        self._use_routes = use_routes
        self.requested = asyncio.Event()

    async def run(self, *, watch: bool) -> None:
        """Reload until cancelled; with `watch`, also when the file changes."""
        while True:
            try:
                async with asyncio.timeout(_POLL_INTERVAL):
                    await self.requested.wait()
            except TimeoutError:
                if not watch or not await self._has_changed():
                    continue
            self.requested.clear()
            await self._reload()

    async def _has_changed(self) -> bool:
        """Return whether the routes file, or a file that the routes file names, has changed."""
        if file_stamp(self._file) != self._stamp:
            return True
        if not self._files:
            return False
        # In a thread: there may be thousands of files, and a network file system may be slow.
        return await asyncio.to_thread(_any_changed, self._files)

    async def _reload(self) -> None:
        self._stamp = file_stamp(self._file)
        files: dict[str, FileStamp] = {}
        self._files = files
        load = partial(load_routes, self._file, self._variables, stamps=files)
        try:
            table = await asyncio.to_thread(load)
        except ConfigError as error:
            # Without the lines of the file, which may contain a key.
            problems = "\n".join(getattr(problem, "summary", str(problem)) for problem in error.problems)
            self._reject("reload rejected, the last good table is kept", problems=problems)
        except Exception as error:  # a bug must not end the watch for the next change
            self._reject("reload failed, the last good table is kept", error=repr(error)[:500])
        else:
            self._log_unused_settings(table)
            self._state.replace(table)
            self._use_routes(table.routes)
            self._metrics.reloaded("ok")
            log("reloaded", file=self._file, routes=len(table.routes))
            log_warnings(table)

    def _log_unused_settings(self, table: RouteTable) -> None:
        """Log the changed settings that a running bridge does not apply."""
        before, after = self._state.table.server, table.server
        for name in _AT_START:
            if getattr(before, name) != getattr(after, name):
                log("setting takes effect at the next start", logging.WARNING, setting=f"server.{name}")

    def _reject(self, event: str, **members: str) -> None:
        self._metrics.reloaded("rejected")
        log(event, logging.ERROR, file=self._file, **members)
