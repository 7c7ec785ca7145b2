"""Worker processes that share the listening sockets."""

from __future__ import annotations

import os
import signal
import time
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

__all__ = ["Workers"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_RESTART_DELAY = 1.0  # seconds; a worker that cannot start must not be restarted without a pause


class Workers:
    """The workers of one parent process: each that ends is replaced, and signals are passed on to all.

    `run` serves in the worker of a number, and returns when the worker is to end. Its second argument is the
    exit code of the worker that the new worker replaces, or None. The new worker logs the code: the parent
    must not wait for the reader of the log, and a thread that writes would make forks unsafe.
    """

    def __init__(self, sockets: Sequence[socket.socket], run: Callable[[int, int | None], None]) -> None:
        self._sockets = sockets
        self._run = run
        self._numbers: dict[int, int] = {}  # of the running workers, by process id
        self._stopping = False

    def start(self, count: int) -> None:
        """Start the workers."""
        for number in range(count):
            self._fork(number, None)
        for signal_number in _SIGNALS:
            signal.signal(signal_number, self._pass_on)

    def wait(self) -> None:
        """Replace workers that end, until a signal ends all of them."""
        while self._numbers:
            process, status = os.wait()
            number = self._numbers.pop(process, 0)
            if not self._stopping:
                time.sleep(_RESTART_DELAY)
            # A signal between the check and the entry in `_numbers` would miss the new worker.
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            if not self._stopping:
                self._fork(number, os.waitstatus_to_exitcode(status))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _pass_on(self, signal_number: int, _: object) -> None:
        if signal_number != signal.SIGHUP:
            self._stopping = True
            for listening in self._sockets:
                listening.close()  # new connections would wait here for workers that accept none
        for process in self._numbers:
            os.kill(process, signal_number)

    def _fork(self, number: int, replaced: int | None) -> None:
        process = os.fork()
        if process:
            self._numbers[process] = number
            return
        # Before it serves, a worker ignores a reload and ends on other signals. Inherited handlers would not.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        try:
            self._run(number, replaced)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
