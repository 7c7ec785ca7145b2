"""Upstreams over TLS: whom the bridge trusts, and what it says of those it does not."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bridge.errors import ConfigError, Kind, UpstreamError
from bridge.exchange.exchange import Exchange
from bridge.loading import load_file
from bridge.openai.endpoints import CHAT
from bridge.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FILES = Path(__file__).parent / "tls"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@asynccontextmanager
async def https(*, asks: bool = False) -> AsyncIterator[int]:
    """A server with our certificate, which may ask clients for theirs; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / "server.pem", FILES / "server.key")
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
    route = load_file(str(file)).routes[0]
    (leg,) = Exchange(route, CHAT, BODY, b"{}", id="1", now=0.0).legs
    upstream = Upstream()
    try:
        async with asyncio.timeout(30):
            return (await upstream.fetch(leg.request(), route.transport, 100))[2]
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
    assert (raised.value.kind, raised.value.status) == (Kind.CONNECT, 502)


async def test_a_file_that_is_not_there_is_told_at_load(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        await asked(tmp_path, 1, "{ca: none.pem}")
    assert "routes[0].upstream.tls.ca: cannot read none.pem: No such file" in str(raised.value)
