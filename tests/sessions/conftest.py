"""A Redis for the tests of a process, on a free port and with nothing on disk."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 10.0  # seconds


class RedisServer:
    """A Redis that can be killed and started again."""

    def __init__(self) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            [
                "redis-server",
                "--bind",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--save",
                "",
                "--appendonly",
                "no",
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                if self.said("PING") == b"+PONG\r\n":
                    return
            except OSError:
                pass
            assert time.monotonic() < deadline, "redis-server does not answer"
            assert self._process.poll() is None, "redis-server has ended"
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it as a machine dies; its memory is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)
            self._process = None

    def stop(self) -> None:
        """Let it answer nobody, though it is there."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def said(self, *words: str) -> bytes:
        """The beginning of its answer to a word."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE)) as connection:
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
    """A Redis that is empty."""
    _redis.start()
    assert _redis.said("FLUSHALL") == b"+OK\r\n"
    return _redis
