"""Upstreams over TLS: whom the bridge trusts, and what it says of those it does not."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bridge.core.errors import ConfigError, UpstreamError, UpstreamFailure
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.loader import load_routes
from bridge.openai.endpoints import CHAT
from bridge.upstream.client import UpstreamClient
from tests.raw_client import HELLO
from tests.raw_upstream import run_upstream
from tests.server.processes import CHECKOUT, served
from tests.upstream.certificates import SECURE_SCHEMES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.raw_upstream import Connection

    Behave = Callable[[Connection], Awaitable[None]]

FILES = Path(__file__).parent / "tls"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def certified() -> ssl.SSLContext:
    """A server's context with our certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / "server.pem", FILES / "server.key")
    return context


@asynccontextmanager
async def https(*, asks: bool = False) -> AsyncIterator[int]:
    """A server with our certificate, which may ask clients for theirs; its port."""
    context = certified()
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(FILES / "server.pem")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def asked(folder: Path, port: int, tls: str) -> bytes:
    """What comes of a request by a file that stands beside its certificates."""
    for file in FILES.iterdir():
        shutil.copy(file, folder)
    file = folder / "routes.yaml"
    file.write_text(f"routes: [{{models: m, upstream: {{url: 'https://127.0.0.1:{port}/', tls: {tls}}}}}]")
    route = load_routes(str(file)).routes[0]
    (call,) = Exchange(RequestContext(route, CHAT, BODY, b"{}", id="1", now=0.0)).calls
    upstream = UpstreamClient()
    try:
        async with asyncio.timeout(30):
            return (await upstream.fetch(call.request(), route.transport, 100))[2]
    finally:
        await upstream.close()


@pytest.mark.parametrize(
    "tls", ["{ca: server.pem}", "{ca: server.pem, server_name: upstream.test}", "{verify: false}"]
)
async def test_a_server_that_is_trusted(tls: str, tmp_path: Path) -> None:
    async with https() as port:
        assert await asked(tmp_path, port, tls) == b"ok"


async def test_a_server_that_asks_who_we_are(tmp_path: Path) -> None:
    async with https(asks=True) as port:
        tls = "{ca: server.pem, cert: server.pem, key: server.key}"
        assert await asked(tmp_path, port, tls) == b"ok"


@pytest.mark.parametrize("tls", ["{}", "{ca: server.pem, server_name: other.test}"])
async def test_a_server_that_is_not(tls: str, tmp_path: Path) -> None:
    async with https() as port:
        with pytest.raises(UpstreamError) as raised:
            await asked(tmp_path, port, tls)
    assert (raised.value.kind, raised.value.status) == (UpstreamFailure.CONNECT, 502)


async def test_a_file_that_is_not_there_is_told_at_load(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        await asked(tmp_path, 1, "{ca: none.pem}")
    assert "routes[0].upstream.tls.ca: cannot read none.pem: No such file" in str(raised.value)


@pytest.mark.parametrize(("scheme", "behave", "rule"), [(name, *way) for name, way in SECURE_SCHEMES.items()])
@pytest.mark.parametrize("known", [True, False])
async def test_a_process_trusts_whom_the_system_trusts(
    scheme: str, behave: Behave, rule: str, known: bool, tmp_path: Path
) -> None:
    environment = {"SSL_CERT_FILE": str(FILES / "server.pem")} if known else {}
    async with run_upstream(behave, tls=certified()) as server:
        url = server.url.replace("http:", f"{scheme}:")
        routes = f"routes: [{{models: m, upstream: {{url: '{url}'}}, {rule}}}]"
        given = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        async with served(tmp_path, routes, *given, environment=environment) as bridge:
            answer = await bridge.request(HELLO)
            if known:
                assert answer.completion().choice.text == "hello"
            else:
                assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")


ALL_CONTEXTS = """
import gc, ssl
from bridge.upstream.tls import without_default_ca
with without_default_ca():
    import bridge.server.app
found = [one for one in gc.get_objects() if isinstance(one, ssl.SSLContext)]
print(len(found), sum(one.cert_store_stats()["x509"] for one in found))
assert ssl.create_default_context().cert_store_stats()["x509"] == 1
"""


def test_certificates_are_not_read_before_they_are_wanted() -> None:
    environment = {**os.environ, "SSL_CERT_FILE": str(FILES / "server.pem")}
    called = [sys.executable, "-c", ALL_CONTEXTS]
    ended = subprocess.run(called, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True)
    contexts, certificates = map(int, ended.stdout.split())
    assert contexts, "aiohttp makes none any more: nothing needs to be kept from it"
    assert certificates == 0
