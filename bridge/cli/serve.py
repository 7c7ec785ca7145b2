"""`format-bridge serve`: settings from flags, variables and the file; one process, or several workers."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bridge.cli.workers import Workers
from bridge.file_stamp import file_stamp
from bridge.loader import load_routes
from bridge.telemetry.logging import configure, flush, log
from bridge.upstream.tls import without_default_ca

if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from bridge.file_stamp import FileStamp
    from bridge.routes.spec import ServerSpec
    from bridge.routes.table import RouteTable
    from bridge.server.app import Worker

__all__ = ["serve"]

_GC_THRESHOLD = 10_000  # new objects before a collection; requests leave hardly any garbage in cycles
_SHIPPED = Path(__file__).parent.parent / "demo" / "routes.yaml"


# What a first-time user does next, after `make run`.
_HINT = """
Send a request from another terminal:

  curl -s {url}/v1/chat/completions \\
    -d '{{"model": "mock", "messages": [{{"role": "user", "content": "Hello!"}}]}}'

Or point any client of OpenAI's at {url}/v1. Edit routes.yaml: a change is used at once. Ctrl-C ends.
"""


class _Sockets(NamedTuple):
    """The listening sockets."""

    front: Sequence[socket.socket]
    admin: Sequence[socket.socket]


class _Loaded(NamedTuple):
    """A table, and the stamp of its file from before the table was read: a later change is noticed."""

    stamp: FileStamp
    table: RouteTable
    files: Mapping[str, FileStamp]  # the stamps of the files that the file names


def serve(arguments: argparse.Namespace) -> int:
    """Serve in this process or in workers. Raise ConfigError, OSError or ValueError."""
    file = _file(arguments.file, demo=arguments.demo)
    arguments.file = file  # for error messages
    loaded = _load(file)
    server = loaded.table.server
    workers = arguments.workers or _workers(os.environ.get("BRIDGE_WORKERS", "")) or server.workers
    if workers == 1:
        sockets = _bind(arguments, server)
        announce = partial(_announce, sockets, demo=arguments.demo)
        _run(_serve(file, sockets, loaded, announce, demo=arguments.demo))
        return 0
    _run_workers(file, _bind(arguments, server), workers, demo=arguments.demo)
    return 0


def _workers(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"BRIDGE_WORKERS is `{text}`: expected a whole number of at least 1")
    return int(text)


def _file(named: str | None, *, demo: bool) -> str:
    """Return the file to serve: with `demo`, the shipped one if no other is named or present."""
    if named is None and demo and not Path("routes.yaml").exists() and _SHIPPED.exists():
        return str(_SHIPPED)
    return named or "routes.yaml"


def _load(file: str) -> _Loaded:
    stamp = file_stamp(file)
    files: dict[str, FileStamp] = {}
    return _Loaded(stamp, load_routes(file, stamps=files), files)


def _bind(arguments: argparse.Namespace, server: ServerSpec) -> _Sockets:
    with without_default_ca():  # importing aiohttp would read the system's certificates
        from bridge.server.listening import bind
    from bridge.server.descriptors import raise_descriptor_limit

    raise_descriptor_limit()
    front = bind(arguments.listen or os.environ.get("BRIDGE_LISTEN") or server.listen)
    admin = arguments.admin or os.environ.get("BRIDGE_ADMIN") or server.admin
    texts = [admin] if isinstance(admin, str) else admin
    return _Sockets(front, bind(text for text in texts if text != "off"))


def _announce(sockets: _Sockets, *, demo: bool) -> None:
    from bridge.server.listening import socket_url

    for name, listening_sockets in zip(sockets._fields, sockets, strict=True):
        for listening in listening_sockets:
            print(f"{name} listening on {socket_url(listening)}", flush=True)
    if demo and sys.stdout.isatty():
        print(_HINT.format(url=socket_url(sockets.front[0])), flush=True)


def _run_workers(file: str, sockets: _Sockets, count: int, *, demo: bool) -> None:
    """Serve in several processes."""
    from bridge.proxy.concurrency import WorkerShare
    from bridge.server.app import Worker
    from bridge.server.shared_rates import SharedRates
    from bridge.telemetry.series import SharedMemory

    rates = SharedRates()
    memories = [SharedMemory() for _ in range(count)]

    def run(number: int, exit_code: int | None) -> None:
        def announce() -> None:
            if exit_code is not None:
                log("worker restarted", logging.WARNING, worker=number, exit_code=exit_code)

        own = sockets if number == 0 else sockets._replace(admin=[])  # one worker serves the admin port
        # The worker reads the file again: a worker that replaces another may start after a change.
        others = [*memories[:number], *memories[number + 1 :]]
        worker = Worker(memories[number], others, WorkerShare(number, count), rates)
        _run(_serve(file, own, None, announce, demo=demo, worker=worker))

    workers = Workers([*sockets.front, *sockets.admin], run)
    workers.start(count)
    _announce(sockets, demo=demo)
    workers.wait()


async def _serve(
    file: str,
    sockets: _Sockets,
    loaded: _Loaded | None,
    announce: Callable[[], None],
    *,
    demo: bool,
    worker: Worker | None = None,
) -> None:
    """Serve a loaded table, or the table of the file as it is now."""
    from bridge.server.app import ServerSettings, serve

    if not demo:
        stamp, table, files = loaded or _load(file)
        _tune_gc()
        settings = ServerSettings(file, table, *sockets, {}, seen=stamp, files=files, worker=worker)
        await serve(settings, announce)
        return
    from bridge.demo import running

    async with running() as variables:
        table = load_routes(file, variables)
        _tune_gc()
        settings = ServerSettings(file, table, *sockets, variables, worker=worker)
        await serve(settings, announce)


def _tune_gc() -> None:
    """Exclude what is loaded from collections: they would search all of it in vain (20 ms for 1 MB)."""
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 50)
    gc.enable()


def _run(coroutine: Coroutine[None, None, None]) -> None:
    configure()
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with suppress(ImportError):  # uvloop does not exist for every system
        from bridge.cli.event_loop import EventLoop

        loop_factory = EventLoop
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(coroutine)
    finally:
        flush()
