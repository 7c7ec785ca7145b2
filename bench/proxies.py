"""The proxies that are compared, and how each is started."""

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

__all__ = ["DIRECT", "HERE", "PROXIES", "Proxy", "Running", "bridge", "plain_aiohttp", "started", "written"]

HERE = Path(__file__).parent
FRAMINGS = ("openai", "ndjson", "nul", "cumulative")
_KEY = "Authorization: Bearer bench"


@dataclass(frozen=True)
class Proxy:
    """One proxy. `command` is made of its port, the upstream's and a directory of its own.

    `form`: what the upstream speaks to it: one of the custom formats if it translates, else OpenAI's.
    `besides`: what else it is measured with, in the burst. `images`: what it is measured with in the case of
    images, if its form has no place for them. `skips`: the cases that it takes no part in. `seconds`: how
    long a load lasts that has no end of its own.
    """

    name: str
    command: Callable[[int, int, Path], list[str]]
    form: str = "openai"
    besides: tuple[str, ...] = ()
    images: str | None = None
    skips: frozenset[str] = frozenset()
    seconds: int = 2
    headers: Callable[[int], list[str]] = lambda _: [_KEY]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A proxy that runs, the upstream behind it, and how to start one more like it."""

    process: Process
    upstream: int
    headers: list[str]
    seconds: int
    another: Callable[[], AbstractContextManager[Running]]


def written(source: Path, port: int, upstream: int, folder: Path) -> str:
    """A file of settings with its ports filled in."""
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
    """The bridge as shipped; run by another interpreter, if one is given."""

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
    """What another interpreter needs: of the same minor version it takes the packages of this one."""
    asked = [python, "-c", "import sys; print(*sys.version_info[:2])"]
    told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    same = told == [str(part) for part in sys.version_info[:2]]
    return {"PYTHONPATH": sysconfig.get_path("purelib")} if same else {}


# No proxy at all: what the load and the upstream themselves need and take.
DIRECT = Proxy("direct", lambda *_: [], skips=frozenset({"start", "half", "idle"}))

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
def started(proxy: Proxy, upstream: Process, folder: Path) -> Iterator[Running]:
    """A proxy before an upstream."""
    folder.mkdir(parents=True, exist_ok=True)
    headers = proxy.headers(upstream.port)

    def another() -> AbstractContextManager[Running]:
        return started(proxy, upstream, folder / "another")

    if proxy is DIRECT:
        yield Running(upstream, upstream.port, headers, proxy.seconds, another)
        return
    port = free_port()
    command = proxy.command(port, upstream.port, folder)
    with running(command, port, PROXY_CORE, folder / "log", proxy.environment) as process:
        yield Running(process, upstream.port, headers, proxy.seconds, another)
