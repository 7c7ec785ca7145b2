"""TLS to upstreams: trusted and refused certificates."""

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
from tests.bridge_process import ROOT, run_process
from tests.raw_client import HELLO
from tests.raw_upstream import Handler, run_upstream
from tests.upstream.certificates import SECURE_SCHEMES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


FILES = Path(__file__).parent / "tls"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def server_tls() -> ssl.SSLContext:
    """Return the TLS context of a server with the test certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / "server.pem", FILES / "server.key")
    return context


@asynccontextmanager
async def https_server(*, mutual: bool = False) -> AsyncIterator[int]:
    """Yield the port of a server with the test certificate, which may require client certificates."""
    context = server_tls()
    if mutual:
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


async def fetch_body(folder: Path, port: int, tls: str) -> bytes:
    """Return the body of a response, requested by a file next to its certificates."""
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
async def test_a_trusted_server_is_reached(tls: str, tmp_path: Path) -> None:
    async with https_server() as port:
        assert await fetch_body(tmp_path, port, tls) == b"ok"


async def test_a_client_certificate_is_presented(tmp_path: Path) -> None:
    async with https_server(mutual=True) as port:
        tls = "{ca: server.pem, cert: server.pem, key: server.key}"
        assert await fetch_body(tmp_path, port, tls) == b"ok"


@pytest.mark.parametrize("tls", ["{}", "{ca: server.pem, server_name: other.test}"])
async def test_an_untrusted_server_is_refused(tls: str, tmp_path: Path) -> None:
    async with https_server() as port:
        with pytest.raises(UpstreamError) as raised:
            await fetch_body(tmp_path, port, tls)
    assert (raised.value.kind, raised.value.status) == (UpstreamFailure.CONNECT, 502)


async def test_a_missing_certificate_is_a_problem_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        await fetch_body(tmp_path, 1, "{ca: none.pem}")
    assert "routes[0].upstream.tls.ca: cannot read none.pem: No such file" in str(raised.value)


@pytest.mark.parametrize(
    ("scheme", "behave", "rule"), [(name, *scheme_parts) for name, scheme_parts in SECURE_SCHEMES.items()]
)
@pytest.mark.parametrize("trusted", [True, False])
async def test_a_process_trusts_the_authorities_of_the_system(
    scheme: str, behave: Handler, rule: str, trusted: bool, tmp_path: Path
) -> None:
    environment = {"SSL_CERT_FILE": str(FILES / "server.pem")} if trusted else {}
    async with run_upstream(behave, tls=server_tls()) as server:
        url = server.url.replace("http:", f"{scheme}:")
        routes = f"routes: [{{models: m, upstream: {{url: '{url}'}}, {rule}}}]"
        arguments = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        async with run_process(tmp_path, routes, *arguments, environment=environment) as bridge:
            response = await bridge.request(HELLO)
            if trusted:
                assert response.completion().choice.text == "hello"
            else:
                assert (response.status, response.error()["code"]) == (502, "upstream_connect")


ALL_CONTEXTS = """
import gc, ssl
from bridge.upstream.tls import without_default_ca
with without_default_ca():
    import bridge.server.app
contexts = [one for one in gc.get_objects() if isinstance(one, ssl.SSLContext)]
print(len(contexts), sum(one.cert_store_stats()["x509"] for one in contexts))
assert ssl.create_default_context().cert_store_stats()["x509"] == 1
"""


def test_system_certificates_are_not_read_at_import() -> None:
    environment = {**os.environ, "SSL_CERT_FILE": str(FILES / "server.pem")}
    command = [sys.executable, "-c", ALL_CONTEXTS]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    contexts, certificates = map(int, process.stdout.split())
    assert contexts, "aiohttp creates no contexts any more: without_default_ca is unnecessary"
    assert certificates == 0
