"""Real servers beside the bridge: nginx and tinyproxy, as Debian packages them, each on a port of its own.

    async with nginx(folder, "location / { proxy_pass … ; }", listen="ssl") as server: …
        server.port, await server.served(3)      [Served(connection, number, status, protocol), …]
    async with tinyproxy(folder, "BasicAuth user word") as proxy: …
        proxy.port, proxy.kill()                 as a machine dies

They run in the foreground, as whoever runs the tests, and write nowhere but into the folder.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from asyncio.subprocess import DEVNULL, Process
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tests.raw_client import until
from tests.upstream.certificates import paired

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

__all__ = ["TLS_VERSIONS", "Daemon", "Nginx", "Served", "nginx", "secured", "tinyproxy", "unused_port"]

TLS_VERSIONS = ["TLSv1.2", "TLSv1.3"]

_PATIENCE = 30.0  # seconds, far more than either takes to begin or to end
_ATTEMPTS = 5  # a port that was free may be taken before the server has it

_NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 500; }}
http {{
    log_format told '$connection $connection_requests $status $ssl_protocol';
    access_log {folder}/access.log told;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_set_header Connection "";
    {above}
    server {{
        listen 127.0.0.1:{port} {listen};
        {text}
    }}
}}
"""

_SECURED = """
ssl_certificate {folder}/server.pem;
ssl_certificate_key {folder}/server.key;
ssl_protocols {versions};
{text}
location / {{
    proxy_pass {server};
    proxy_set_header X-Who $ssl_client_s_dn;
}}
"""

_TINYPROXY = """
Listen 127.0.0.1
Port {port}
Timeout 60
MaxClients 100
LogLevel Connect
LogFile "{folder}/tinyproxy.log"
{text}
"""


@dataclass
class Daemon:
    """A server that runs, in this folder."""

    folder: Path
    port: int
    process: Process

    def kill(self) -> None:
        """Kill it as a machine dies: no connection of it gets a last word."""
        self.process.kill()


class Served(NamedTuple):
    """A request that nginx has answered: the connection it came on, and the how manieth it was there."""

    connection: int
    number: int
    status: int
    protocol: str


class Nginx(Daemon):
    """An nginx."""

    async def served(self, least: int) -> list[Served]:
        """What it has answered, which must be so many requests: it tells of each behind its last byte."""
        seen: list[Served] = []

        async def told() -> bool:
            lines = (self.folder / "access.log").read_text().splitlines(keepends=True)
            words = [line.split() for line in lines if line.endswith("\n")]
            seen[:] = [Served(int(one), int(number), int(code), tls) for one, number, code, tls in words]
            return len(seen) >= least

        async with asyncio.timeout(_PATIENCE):
            await until(told)
        return seen


@asynccontextmanager
async def nginx(folder: Path, text: str, *, listen: str = "", above: str = "") -> AsyncIterator[Nginx]:
    """Run an nginx with this text in its `server`, these words behind its `listen`, those ahead of all."""
    file = folder / "nginx.conf"

    def command(port: int) -> list[str]:
        folder.mkdir(exist_ok=True)
        file.write_text(_NGINX.format(folder=folder, port=port, listen=listen, above=above, text=text))
        return [_path_of("nginx"), "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(file)]

    async with _running(command) as (port, process):
        yield Nginx(folder, port, process)


@asynccontextmanager
async def secured(folder: Path, server: str, *, text: str = "", version: str = "") -> AsyncIterator[Nginx]:
    """Run an nginx with a new certificate, `server.pem` in the folder, before the server of this URL."""
    paired(folder, "server")
    versions = version or " ".join(TLS_VERSIONS)
    lines = _SECURED.format(folder=folder, server=server, text=text, versions=versions)
    async with nginx(folder / "nginx", lines, listen="ssl") as running:
        yield running


@asynccontextmanager
async def tinyproxy(folder: Path, text: str = "") -> AsyncIterator[Daemon]:
    """Run a tinyproxy with this text in its file."""
    file = folder / "tinyproxy.conf"

    def command(port: int) -> list[str]:
        folder.mkdir(exist_ok=True)
        file.write_text(_TINYPROXY.format(folder=folder, port=port, text=text))
        return [_path_of("tinyproxy"), "-d", "-c", str(file)]

    async with _running(command) as (port, process):
        yield Daemon(folder, port, process)


def unused_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port: int = closed.getsockname()[1]
    return port


@asynccontextmanager
async def _running(command: Callable[[int], list[str]]) -> AsyncIterator[tuple[int, Process]]:
    async with asyncio.timeout(_PATIENCE):
        for _ in range(_ATTEMPTS):
            port = unused_port()
            process = await asyncio.create_subprocess_exec(*command(port), stdout=DEVNULL, stderr=DEVNULL)
            if await _listens(port, process):
                break
        else:
            raise AssertionError(f"it does not start: {command(port)}")
    try:
        yield port, process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _listens(port: int, process: Process) -> bool:
    """Whether it takes connections there; it has ended where it does not."""
    while process.returncode is None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await asyncio.sleep(0)
            return process.returncode is None
        await asyncio.sleep(0.01)
    return False


def _path_of(name: str) -> str:
    """Where a server is: not all who run tests have /usr/sbin among their paths."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found is not None, f"the tests want {name}, as Debian packages it"
    return found
