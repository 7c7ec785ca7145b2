"""The compared proxies and their commands."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import PROXY_CORE, Process, free_port, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["DIRECT", "HERE", "PROXIES", "Instance", "Proxy", "bridge", "plain_aiohttp", "started", "written"]

HERE = Path(__file__).parent
FRAMINGS = ("openai", "ndjson", "nul", "cumulative")
_KEY = "Authorization: Bearer bench"


@dataclass(frozen=True)
class Proxy:
    """One proxy."""

    name: str
    command: Callable[[int, int, Path], list[str]]  # of its port, the upstream's port and a folder of its own
    form: str = "openai"  # the upstream's format: OpenAI's, or a custom one that the proxy translates
    besides: tuple[str, ...] = ()  # further formats in the burst
    images: str | None = None  # the format in the case of images, if `form` has no place for them
    skips: frozenset[str] = frozenset()  # cases that the proxy does not take part in
    seconds: int = 2  # duration of a load at full speed
    streams: int = 100  # streams a second at a low rate
    headers: Callable[[int], list[str]] = lambda _: [_KEY]  # of requests, by the upstream's port
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Instance:
    """A running proxy."""

    proxy: Proxy
    process: Process
    upstream: int  # port
    headers: list[str]
    another: Callable[[], AbstractContextManager[Instance]]  # starts a second process of the same proxy


def written(source: Path, port: int, upstream: int, folder: Path) -> str:
    """Write a file of settings with its ports filled in; return its path."""
    text = source.read_text(encoding="utf-8")
    made = folder / source.name
    for word, value in {"@PORT@": port, "@UPSTREAM@": upstream, "@HERE@": HERE, "@FOLDER@": folder}.items():
        text = text.replace(word, str(value))
    made.write_text(text, encoding="utf-8")
    return str(made)


def _nginx(name: str) -> Callable[[int, int, Path], list[str]]:
    return lambda port, upstream, folder: [
        "nginx", "-e", str(folder / "error.log"), "-p", str(folder),
        "-c", written(HERE / name, port, upstream, folder),
    ]  # fmt: skip


def _haproxy(port: int, upstream: int, folder: Path) -> list[str]:
    return ["haproxy", "-db", "-q", "-f", written(HERE / "haproxy.cfg", port, upstream, folder)]


def bridge(python: str | None = None) -> Proxy:
    """Return the bridge as shipped, or run by another interpreter."""

    def command(port: int, upstream: int, folder: Path) -> list[str]:
        return [
            python or sys.executable, str(HERE.parent / "bridge.py"),
            "serve", written(HERE / "routes.yaml", port, upstream, folder),
            "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{free_port()}",
        ]  # fmt: skip

    name = f"bridge, {python}" if python else "bridge"
    environment = _packages(python) if python else {}
    return Proxy(name, command, form="sse", besides=FRAMINGS, images="openai", environment=environment)


def plain_aiohttp(python: str | None = None) -> Proxy:
    """Return a plain aiohttp proxy with the same translation; its format has no place for images."""

    def command(port: int, upstream: int, folder: Path) -> list[str]:
        return [python or sys.executable, str(HERE / "plain_aiohttp.py"), str(port), str(upstream)]

    name = f"aiohttp, {python}" if python else "aiohttp"
    environment = _packages(python) if python else {}
    return Proxy(name, command, form="sse", skips=frozenset({"image"}), environment=environment)


def _packages(python: str) -> dict[str, str]:
    """Return the variables by which an interpreter of this minor version finds the packages of this one."""
    probe = [python, "-c", "import sys; print(*sys.version_info[:2])"]
    version = subprocess.run(probe, check=True, capture_output=True, text=True).stdout.split()
    same = version == [str(part) for part in sys.version_info[:2]]
    return {"PYTHONPATH": sysconfig.get_path("purelib")} if same else {}


# No proxy: the cost and the speed of load and upstream themselves.
DIRECT = Proxy("direct", lambda *_: [], skips=frozenset({"start", "half", "first", "memory", "idle"}))

PROXIES = {
    proxy.name: proxy
    for proxy in (
        DIRECT,
        Proxy("nginx", _nginx("nginx.conf")),
        Proxy("haproxy", _haproxy),
        Proxy("nginx+lua", _nginx("nginx-lua.conf"), form="sse"),
        plain_aiohttp(),
        bridge(),
    )
}


@contextmanager
def started(proxy: Proxy, upstream: Process, folder: Path) -> Iterator[Instance]:
    """Run a proxy in front of an upstream."""
    folder.mkdir(parents=True, exist_ok=True)
    headers = proxy.headers(upstream.port)

    def another() -> AbstractContextManager[Instance]:
        return started(proxy, upstream, folder / "another")

    if proxy is DIRECT:
        yield Instance(proxy, upstream, upstream.port, headers, another)
        return
    port = free_port()
    command = proxy.command(port, upstream.port, folder)
    with running(command, port, PROXY_CORE, folder / "log", proxy.environment) as process:
        yield Instance(proxy, process, upstream.port, headers, another)
