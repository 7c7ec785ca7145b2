"""The running bridge: both ports, reloads, and an orderly shutdown.

sockets ─▶ front and admin ─▶ ready ─▶ … the file changes: the table is replaced …
SIGTERM ─▶ not ready, for `shutdown_delay` ─▶ no new connections ─▶ responses go on, up to `drain` ─▶ end
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from bridge.core.addresses import is_local
from bridge.proxy.concurrency import WorkerShare
from bridge.server.admin import admin_app
from bridge.server.api import OpenAIHandler, ServerState
from bridge.server.client_limits import WorkerLimits
from bridge.server.descriptors import affordable_connections
from bridge.server.http_protocol import SILENT_LOGGER
from bridge.server.http_server import HTTPServer
from bridge.server.listening import BACKLOG, warn_if_open
from bridge.server.reload import Reloader, log_warnings
from bridge.telemetry.logging import count_dropped_lines, log
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.series import Series
from bridge.thread_pool import ThreadPool
from bridge.upstream.client import UpstreamClient

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from bridge.file_stamp import FileStamp
    from bridge.routes.table import RouteTable
    from bridge.server.shared_rates import SharedRates
    from bridge.telemetry.series import SharedMemory

__all__ = ["RunningServer", "ServerSettings", "Worker", "run_server", "serve"]

_ADMIN_KEEPALIVE_TIMEOUT = 75.0  # seconds until an idle connection of the admin port is closed
_DRAIN_GRACE = 5.0  # seconds for the ends of responses that outlast the drain


@dataclass(frozen=True, slots=True)
class Worker:
    """The memory and the limits that a worker shares with the other workers."""

    memory: SharedMemory  # for the metrics of this worker
    others: Sequence[SharedMemory]  # for the metrics of the others
    share: WorkerShare  # in the limits of routes, and of concurrency of keys
    rates: SharedRates  # of keys


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The routes file to serve, and the sockets to serve on."""

    file: str  # the routes file
    table: RouteTable  # the routes of the file
    front: Sequence[socket.socket]  # the listening sockets for clients
    admin: Sequence[socket.socket]  # the listening sockets of the admin port, if there is one
    variables: Mapping[str, str]  # additions to the environment that the file is read with
    watch: bool = True  # whether to reload the file when it changes
    seen: FileStamp | None = None  # the stamp of the file from before `table` was read; None: the current one
    files: Mapping[str, FileStamp] = field(
        default_factory=dict
    )  # the files that the routes file names, with their stamps
    worker: Worker | None = None  # None: this process is the only worker


async def serve(settings: ServerSettings, announce: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT. Call `announce` when ready."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with run_server(settings) as server:
        loop.add_signal_handler(signal.SIGHUP, server.reload.set)
        announce()
        await stop.wait()
        stop.clear()
        await _delay_shutdown(server.state, stop)


async def _delay_shutdown(state: ServerState, stop: asyncio.Event) -> None:
    """Serve on while load balancers notice that /readyz is 503, until a second signal."""
    state.draining = True
    delay = state.table.server.shutdown_delay
    if delay:
        log("shutdown requested", delay=delay)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), delay)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running bridge."""

    state: ServerState
    reload: asyncio.Event  # requests a reload


@asynccontextmanager
async def run_server(settings: ServerSettings) -> AsyncIterator[RunningServer]:
    """Run the bridge."""
    metrics = Metrics(Series(settings.worker.memory) if settings.worker else None)
    metrics.series.clear_gauges()  # of a worker that this worker replaces
    count_dropped_lines(metrics.log_lines_dropped)
    share = settings.worker.share if settings.worker else WorkerShare()
    rates = settings.worker.rates if settings.worker else None
    state = ServerState(settings.table, int(time.time()), WorkerLimits(share, rates))
    upstream = UpstreamClient()
    threads = ThreadPool()
    handler = OpenAIHandler(state, upstream, metrics, share, threads)
    forwarder = handler.forwarder
    reloader = Reloader(
        settings.file, settings.variables, settings.seen, settings.files, state, metrics, forwarder.use_routes
    )
    forwarder.use_routes(settings.table.routes)
    drain = settings.table.server.drain
    log_warnings(settings.table)
    server_settings = settings.table.server
    if not server_settings.keys and all(map(is_local, server_settings.listen)):
        warn_if_open(settings.front)  # by a flag or a variable: the file's own address has its own warning
    async with AsyncExitStack() as stack:
        stack.callback(threads.close)
        stack.push_async_callback(upstream.close)
        stack.push_async_callback(forwarder.close)
        stack.callback(handler.model_lists.close)
        if settings.admin:
            await _serve_admin(stack, settings, state, metrics)
        affordable = affordable_connections(settings.table.server.limits.connections)
        server = HTTPServer(handler.answer, state, affordable)
        await _listen(stack, web.ServerRunner(server, shutdown_timeout=drain + _DRAIN_GRACE), settings.front)
        reloading = asyncio.ensure_future(reloader.run(watch=settings.watch))
        stack.callback(reloading.cancel)
        try:
            yield RunningServer(state, reloader.requested)
        finally:
            state.draining = True
            log("draining", seconds=drain)
            asyncio.get_running_loop().call_later(drain, forwarder.abort_all)


async def _serve_admin(
    stack: AsyncExitStack, settings: ServerSettings, state: ServerState, metrics: Metrics
) -> None:
    """Serve the admin port until the stack is closed."""
    others = settings.worker.others if settings.worker else ()
    runner = web.AppRunner(
        admin_app(state, [metrics.series, *map(Series, others)]),
        access_log=None,
        logger=SILENT_LOGGER,
        keepalive_timeout=_ADMIN_KEEPALIVE_TIMEOUT,
        shutdown_timeout=_DRAIN_GRACE,
    )
    await _listen(stack, runner, settings.admin)


async def _listen(stack: AsyncExitStack, runner: web.BaseRunner, sockets: Sequence[socket.socket]) -> None:
    """Accept connections on sockets until the stack is closed."""
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for listening in sockets:
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
