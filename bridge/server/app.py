"""Runs the bridge: both ports, reloads, and an end in good order.

sockets ─▶ front and admin ─▶ ready ─▶ … the file changes: the table is replaced …
SIGTERM ─▶ not ready, no new connections ─▶ answers in flight go on, up to `drain` ─▶ end
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.core.errors import ConfigError
from bridge.file_stamp import file_stamp
from bridge.loader import load_routes
from bridge.server.admin import AdminHandler
from bridge.server.api import OpenAIHandler, ServerState
from bridge.server.listener import HTTPListener
from bridge.telemetry.logging import log
from bridge.telemetry.metrics import Metrics
from bridge.upstream.client import UpstreamClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from bridge.file_stamp import FileStamp
    from bridge.routes.table import RouteTable

__all__ = ["ServerSettings", "bind", "run_server", "serve", "socket_url"]

_FILE_POLL_INTERVAL = 1.0  # seconds between two looks at the file
_DRAIN_GRACE = 5.0  # seconds for the ends of the answers that outlast the drain


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What to serve and where: sockets that listen already, the admin's None for no admin port.

    `variables` add to the environment of the file. `watch`: the file is read again when it changes.
    `seen` is its stamp from before the table was read; None: that of now is as good.
    """

    file: str
    table: RouteTable
    front: socket.socket
    admin: socket.socket | None
    variables: Mapping[str, str]
    watch: bool = True
    seen: FileStamp | None = None


def bind(address: str) -> socket.socket:
    """A socket that listens on HOST:PORT; port 0 takes a free one. Raises OSError and ValueError."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"`{address}` is no address: expected HOST:PORT")
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104 - `:8080` asks for every interface
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=1024)


def socket_url(listening: socket.socket) -> str:
    """Where a socket can be reached."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(settings: ServerSettings, announce: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is called when ready."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, over.set)
    async with run_server(settings) as reload:
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        announce()
        await over.wait()


@asynccontextmanager
async def run_server(settings: ServerSettings) -> AsyncIterator[asyncio.Event]:
    """The running bridge; the event that is given asks for a reload."""
    metrics = Metrics()
    state = ServerState(settings.table, created=int(time.time()))
    upstream = UpstreamClient()
    front = OpenAIHandler(state, upstream, metrics)
    reload = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(upstream.close)
        stack.push_async_callback(front.carrier.close)
        if settings.admin is not None:
            admin = AdminHandler(state, front.carrier.accounts, metrics)
            await _listen(stack, HTTPListener(admin.answer), settings.admin, _DRAIN_GRACE)
        drain = settings.table.server.drain
        await _listen(stack, HTTPListener(front.answer), settings.front, drain + _DRAIN_GRACE)
        watcher = asyncio.ensure_future(_reload_on_change(settings, state, metrics, reload))
        stack.callback(watcher.cancel)
        try:
            yield reload
        finally:
            state.draining = True
            front.carrier.accounts.flush()  # what was before
            log("draining", seconds=drain)
            asyncio.get_running_loop().call_later(drain, front.carrier.abort_all)


async def _listen(
    stack: AsyncExitStack, server: HTTPListener, listening: socket.socket, patience: float
) -> None:
    await server.listen(listening)
    stack.push_async_callback(server.close, patience)


async def _reload_on_change(
    settings: ServerSettings, state: ServerState, metrics: Metrics, reload: asyncio.Event
) -> None:
    """Replace the table when the file changes: all or nothing, the last good one is kept."""
    seen = settings.seen or file_stamp(settings.file)
    while True:
        try:
            async with asyncio.timeout(_FILE_POLL_INTERVAL):
                await reload.wait()
        except TimeoutError:
            if not settings.watch or file_stamp(settings.file) == seen:
                continue
        reload.clear()
        seen = file_stamp(settings.file)
        try:
            state.table = await asyncio.to_thread(load_routes, settings.file, settings.variables)
        except ConfigError as error:
            metrics.reloaded("rejected")
            log("reload rejected, the last good table is kept", 40, file=settings.file, problems=str(error))
        except Exception as error:  # whatever it was, the next change must be seen
            metrics.reloaded("rejected")
            log("reload failed, the last good table is kept", 40, file=settings.file, error=repr(error)[:500])
        else:
            metrics.reloaded("ok")
            log("reloaded", file=settings.file, routes=len(state.table.routes))
