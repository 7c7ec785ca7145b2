"""The proxies that are compared: how each is started, and what the system says that it cost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["PROXIES", "Proxy", "Running", "free_port", "running", "started"]

HERE = Path(__file__).parent
PROXY_CORE, OTHER_CORE = 0, 1
_READY = 20.0  # seconds


@dataclass(frozen=True)
class Proxy:
    """One proxy. `command` is made of its port, the upstream's and a directory of its own.

    `translates`: it turns the custom formats into OpenAI's; else it forwards what comes.
    """

    name: str
    command: Callable[[int, int, Path], list[str]]
    translates: bool


@dataclass(frozen=True)
class Running:
    """A proxy that runs."""

    pid: int
    port: int

    def processes(self) -> list[int]:
        """Its processes: the first one and what it started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def cpu(self) -> float:
        """CPU time of all its threads so far, in seconds, as the scheduler counts it."""
        total = 0
        for pid in self.processes():
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def resident(self) -> int:
        """Memory of all its processes, in bytes."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.processes())
        return pages * os.sysconf("SC_PAGE_SIZE")


def _written(name: str, port: int, upstream: int, folder: Path) -> str:
    """A file of settings with its ports filled in."""
    text = (HERE / name).read_text(encoding="utf-8")
    made = folder / name
    for word, value in {"@PORT@": port, "@UPSTREAM@": upstream, "@HERE@": HERE, "@FOLDER@": folder}.items():
        text = text.replace(word, str(value))
    made.write_text(text, encoding="utf-8")
    return str(made)


def _nginx(name: str) -> Callable[[int, int, Path], list[str]]:
    return lambda port, upstream, folder: [
        "nginx", "-e", str(folder / "error.log"), "-p", str(folder),
        "-c", _written(name, port, upstream, folder),
    ]  # fmt: skip


def _haproxy(port: int, upstream: int, folder: Path) -> list[str]:
    return ["haproxy", "-db", "-q", "-f", _written("haproxy.cfg", port, upstream, folder)]


def _bridge(port: int, upstream: int, folder: Path) -> list[str]:
    routes = _written("routes.yaml", port, upstream, folder)
    return [
        sys.executable, str(HERE.parent / "bridge.py"), "serve", routes,
        "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{free_port()}",
    ]  # fmt: skip


PROXIES = {
    proxy.name: proxy
    for proxy in (
        Proxy("nginx", _nginx("nginx.conf"), translates=False),
        Proxy("haproxy", _haproxy, translates=False),
        Proxy("nginx+lua", _nginx("nginx-lua.conf"), translates=True),
        Proxy("bridge", _bridge, translates=True),
    )
}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], port: int, core: int, log: Path) -> Iterator[Running]:
    """A process that listens on a port, bound to one core, until the block is left."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=_prepare(core))
    try:
        _await_port(process, port, log)
        yield Running(process.pid, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def started(proxy: Proxy, upstream: int, folder: Path) -> Iterator[Running]:
    """A proxy before the upstream of a port."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    with running(proxy.command(port, upstream, folder), port, PROXY_CORE, folder / "log") as one:
        yield one


def _prepare(core: int) -> Callable[[], None]:
    def prepare() -> None:
        os.sched_setaffinity(0, {core})

    return prepare


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise SystemExit(
        f"{process.args!r} does not listen on {port}:\n{log.read_text(errors='replace')[-2000:]}"
    )
