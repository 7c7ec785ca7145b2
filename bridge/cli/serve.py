"""`format-bridge serve`: settings from flags, variables and the file; sockets; one process or several."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.file_stamp import file_stamp
from bridge.loader import load_routes
from bridge.telemetry.logging import configure
from bridge.upstream.tls import without_default_ca

if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Callable, Coroutine

    from bridge.file_stamp import FileStamp
    from bridge.routes.spec import ServerSpec
    from bridge.routes.table import RouteTable

__all__ = ["serve"]

_GC_THRESHOLD = 10_000  # objects made since the last look; requests leave hardly any that needs one
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SHIPPED = Path(__file__).parent.parent / "demo" / "routes.yaml"


def serve(called: argparse.Namespace) -> int:
    """Bind, then serve in this process or in workers. Raises ConfigError, OSError, ValueError."""
    called.file = _file(called.file, demo=called.demo)
    seen, table = _load(called.file)
    workers = called.workers or _workers(os.environ.get("BRIDGE_WORKERS", "")) or table.server.workers
    if workers == 1:
        return _run_single(called, table, seen)
    with tempfile.TemporaryDirectory(prefix="bridge-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        return _run_workers(called, table.server, workers)


def _workers(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"BRIDGE_WORKERS is `{text}`: expected a whole number of at least 1")
    return int(text)


def _file(named: str | None, *, demo: bool) -> str:
    """The file to serve; the shipped one where there is none and a demo is wanted."""
    if named is None and demo and not Path("routes.yaml").exists() and _SHIPPED.exists():
        return str(_SHIPPED)
    return named or "routes.yaml"


def _bind(called: argparse.Namespace, server: ServerSpec) -> tuple[socket.socket, socket.socket | None]:
    with without_default_ca():  # aiohttp comes with it
        from bridge.server.app import bind

    front = bind(called.listen or os.environ.get("BRIDGE_LISTEN") or server.listen)
    admin = called.admin or os.environ.get("BRIDGE_ADMIN") or server.admin
    return front, None if admin == "off" else bind(admin)


def _load(file: str) -> tuple[FileStamp, RouteTable]:
    """The table, and the stamp of the file from before: what changes meanwhile is seen."""
    return file_stamp(file), load_routes(file)


def _run_single(called: argparse.Namespace, table: RouteTable, seen: FileStamp) -> int:
    front, admin = _bind(called, table.server)
    _run(_work(called, front, admin, lambda: _announce(front, admin), (seen, table)))
    return 0


def _run_workers(called: argparse.Namespace, server: ServerSpec, workers: int) -> int:
    """Workers that share the sockets. One that dies is replaced; the signals go to all."""
    from prometheus_client.multiprocess import mark_process_dead

    front, admin = _bind(called, server)
    ending = False

    def pass_on(number: int, frame: object) -> None:
        nonlocal ending
        if number != signal.SIGHUP:
            ending = True
            close()  # or new connections would wait here for workers that take none
        for worker in running:
            os.kill(worker, number)

    def close() -> None:
        for listening in (front, admin):
            if listening is not None:
                listening.close()

    running: dict[int, int] = {}
    for number in range(workers):
        running[_fork(called, front, admin if number == 0 else None)] = number
    for name in _SIGNALS:
        signal.signal(name, pass_on)
    _announce(front, admin)
    while running:
        worker, status = os.wait()
        number = running.pop(worker, 0)
        mark_process_dead(worker)  # type: ignore[no-untyped-call]
        if not ending:
            print(
                f"format-bridge: restarting worker {number}: it ended with status {status}", file=sys.stderr
            )
            time.sleep(1)  # a worker that cannot start must not be restarted without a pause
        # A signal between the check and the entry in `running` would miss the new worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if not ending:
            running[_fork(called, front, admin if number == 0 else None)] = number
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    return 0


def _fork(called: argparse.Namespace, front: socket.socket, admin: socket.socket | None) -> int:
    child = os.fork()
    if child:
        return child
    # Before it serves, a worker ignores a reload and ends on other signals. Inherited handlers would not.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        _run(_work(called, front, admin, lambda: None))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


async def _work(
    called: argparse.Namespace,
    front: socket.socket,
    admin: socket.socket | None,
    announce: Callable[[], None],
    loaded: tuple[FileStamp, RouteTable] | None = None,
) -> None:
    """Serve what is loaded, or the file as it is now: a worker may take over after it has changed."""
    from bridge.server.app import ServerSettings, serve

    configure()
    if not called.demo:
        seen, table = loaded or _load(called.file)
        _tune_gc()
        await serve(ServerSettings(called.file, table, front, admin, {}, seen=seen), announce)
        return
    from bridge.demo import running

    async with running() as variables:
        table = load_routes(called.file, variables)
        _tune_gc()
        await serve(ServerSettings(called.file, table, front, admin, variables), announce)


def _announce(front: socket.socket, admin: socket.socket | None) -> None:
    from bridge.server.app import socket_url

    print(f"front listening on {socket_url(front)}", flush=True)
    if admin is not None:
        print(f"admin listening on {socket_url(admin)}", flush=True)


def _tune_gc() -> None:
    """What is loaded by now stays: looking for garbage in it is in vain, even once (20 ms for 1 MB)."""
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 50)
    gc.enable()


def _run(work: Coroutine[None, None, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)
