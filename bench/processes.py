"""Processes that are measured: started on a core of their own, and what the system says that they cost."""

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
_READY = 90.0  # seconds
_CPU_CLOCK = 2  # CPUCLOCK_SCHED of the kernel


@dataclass(frozen=True)
class Process:
    """A server that runs, and what it took until it answered: seconds, and seconds of CPU time."""

    pid: int
    port: int
    ready: float
    ready_cpu: float

    def cpu(self) -> float:
        """CPU time so far, in seconds, as the scheduler counts it."""
        return sum(_cpu(pid) for pid in _family(self.pid))

    def resident(self) -> int:
        """Memory of all its processes, in bytes."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _family(self.pid))
        return pages * os.sysconf("SC_PAGE_SIZE")


def _family(pid: int) -> list[int]:
    """A process and what it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def _cpu(pid: int) -> float:
    # The clock that clock_getcpuclockid(3) names. Unlike what /proc tells, it counts to the nanosecond and
    # does not forget threads that ended.
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str], port: int, core: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """A process that answers on a port, bound to one core, until the block is left."""
    begun = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            preexec_fn=_prepare(core),
            cwd=log.parent,
            # Python keeps what it has compiled, as it does wherever it was not told otherwise.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(environment or {})},
        )
    try:
        _await_answer(process, port, log)
        ready = time.monotonic() - begun
        yield Process(process.pid, port, ready, sum(_cpu(pid) for pid in _family(process.pid)))
    finally:
        if process.poll() is not None:
            print(f"{command!r} ended by itself:\n{_end_of(log)}", file=sys.stderr)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _prepare(core: int) -> Callable[[], None]:
    def prepare() -> None:
        os.sched_setaffinity(0, {core})

    return prepare


def _await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until it answers, whatever it says: a port that is open is not yet a server that serves."""
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), _READY) as probe:
                probe.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                if probe.recv(1):
                    return
        except OSError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.002)
    raise SystemExit(f"{process.args!r} does not answer on {port}:\n{_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


@contextmanager
def awake() -> Iterator[bool]:
    """Keep the processor's cores from halting while they wait; whether that is allowed here.

    A core of a virtual machine that halts is given back when its host sees fit: milliseconds that are no
    proxy's. Linux leaves them running for whoever may open this device (PM Quality of Service interface).
    """
    try:
        device = os.open("/dev/cpu_dma_latency", os.O_WRONLY)
    except OSError:
        yield False
        return
    try:
        os.write(device, struct.pack("i", 0))  # the microseconds that waking up may take
        yield True
    finally:
        os.close(device)
