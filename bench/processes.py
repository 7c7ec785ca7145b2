"""Measured processes, each started on one core; CPU time and memory as the kernel counts them."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["OTHER_CORE", "PROXY_CORE", "Process", "awake", "free_port", "running"]

PROXY_CORE, OTHER_CORE = 0, 1
_READY_TIMEOUT = 90.0  # seconds
_CPU_CLOCK = 2  # CPUCLOCK_SCHED of the kernel


@dataclass(frozen=True)
class Process:
    """A running server."""

    pid: int
    port: int
    ready: float  # seconds from its command to its first response
    ready_cpu: float  # seconds of CPU time until then

    def cpu(self) -> float:
        """Return the CPU time of its process tree so far, in seconds, as the scheduler counts it."""
        return sum(_cpu(pid) for pid in _tree(self.pid))

    def resident(self) -> int:
        """Return the resident memory of its process tree, in bytes."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _tree(self.pid))
        return pages * os.sysconf("SC_PAGE_SIZE")


def _tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(descendant for child in children for descendant in _tree(int(child)))]


def _cpu(pid: int) -> float:
    # The clock of clock_getcpuclockid(3). Unlike /proc it counts nanoseconds, and includes ended threads.
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str], port: int, core: int | None, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run a server on one core, or on any; yield its process once the port has answered."""
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            preexec_fn=_prepare(core),
            cwd=log.parent,
            # Python writes bytecode, as it does by default.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(environment or {})},
        )
    try:
        _wait_until_ready(process, port, log)
        ready = time.monotonic() - began
        yield Process(process.pid, port, ready, sum(_cpu(pid) for pid in _tree(process.pid)))
    finally:
        if process.poll() is not None:
            print(f"{command!r} ended early:\n{_tail(log)}", file=sys.stderr)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _prepare(core: int | None) -> Callable[[], None]:
    def prepare() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    return prepare


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait for a response of any status: an open port does not mean a server that serves."""
    deadline = time.monotonic() + _READY_TIMEOUT
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), _READY_TIMEOUT) as probe:
                probe.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                if probe.recv(1):
                    return
        except OSError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.002)
    raise SystemExit(f"{process.args!r} does not respond on port {port}:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


@contextmanager
def awake() -> Iterator[bool]:
    """Keep idle cores from halting; yield whether that is permitted here.

    The host of a virtual machine takes milliseconds to resume a halted core, which would count for the proxy.
    Linux keeps the cores running while this device is open (PM Quality of Service interface).
    """
    try:
        device = os.open("/dev/cpu_dma_latency", os.O_WRONLY)
    except OSError:
        yield False
        return
    try:
        os.write(device, struct.pack("i", 0))  # microseconds that waking up may take
        yield True
    finally:
        os.close(device)
