"""TLS connections that are cut off: a truncated response is never a success."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, Handler, chunk, head, http_response, run_upstream
from tests.running_bridge import run_bridge_from_file
from tests.upstream.certificates import server_context, write_certificate
from tests.upstream.daemons import secured
from tests.upstream.formats import completion, frame, stream_head

if TYPE_CHECKING:
    from pathlib import Path


STREAM = {**HELLO, "stream": True}
GOOD = http_response(completion("hello"))


def routes(url: str) -> str:
    rules = 'response: $.text, stream: {text: $.delta, done: "[DONE]"}'
    return f"routes: [{{models: m, upstream: {{url: '{url}', tls: {{ca: server.pem}}}}, {rules}}}]"


def sends_half(half: bytes) -> Handler:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(half)
        await peer.wait_closed()

    return behave


TO_THE_END = head(200, content_type="text/event-stream", connection="close")
OF_A_LENGTH = head(200, content_type="text/event-stream", content_length="9999")
HALVES = {
    "in chunks": stream_head() + chunk(frame("hello")),
    "in half a chunk": stream_head() + b"400\r\n" + frame("hello"),
    "of a length": OF_A_LENGTH + frame("hello"),
    "until it closes": TO_THE_END + frame("hello"),
}


@pytest.mark.parametrize("half", HALVES)
async def test_a_stream_ends_with_an_error_if_its_server_dies(half: str, tmp_path: Path) -> None:
    """A killed process sends no TLS close_notify."""
    async with (
        run_upstream(sends_half(HALVES[half])) as model,
        secured(tmp_path, model.url) as server,
        run_bridge_from_file(tmp_path, routes(f"https://127.0.0.1:{server.port}/"), {}) as bridge,
        bridge.connect() as client,
    ):
        await client.send(STREAM)
        assert (await client.head())[0] == 200
        data = b""
        while b"hello" not in data:
            data += await client.chunk()
        server.kill()
        data += b"".join([piece async for piece in client.chunks()])
        assert b"[DONE]" not in data
        assert b'"code":"upstream_disconnect"' in data.replace(b": ", b":")
        assert await bridge.count("bridge_upstream_errors_total", kind="disconnect") == 1


@pytest.mark.parametrize("half", [GOOD[:-5], head(200, transfer_encoding="chunked") + b"9\r\n{"])
async def test_a_response_is_an_error_if_its_server_dies(half: bytes, tmp_path: Path) -> None:
    async with (
        run_upstream(sends_half(half)) as model,
        secured(tmp_path, model.url) as server,
        run_bridge_from_file(tmp_path, routes(f"https://127.0.0.1:{server.port}/"), {}) as bridge,
        bridge.connect() as client,
    ):
        await client.send(HELLO)
        await model.wait_until(lambda model: len(model.requests) == 1)
        await asyncio.sleep(0.05)  # the data may or may not have arrived
        server.kill()
        response = await client.response()
        assert (response.status, response.error()["code"]) == (502, "upstream_disconnect")


@pytest.mark.parametrize("resets", [True, False])
async def test_a_truncated_tls_stream_is_a_disconnect(resets: bool, tmp_path: Path) -> None:
    """The connection ends within a stream, by a reset or by a TLS close_notify."""

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(frame("hello")))
        await asyncio.sleep(0.05)
        if resets:
            peer.abort()

    write_certificate(tmp_path, "server")
    async with run_upstream(behave, tls=server_context(tmp_path, "server")) as model:
        url = model.url.replace("http:", "https:")
        async with run_bridge_from_file(tmp_path, routes(url), {}) as bridge:
            response = await bridge.request(STREAM)
            stream = response.stream()
            assert (stream.choice.text, (stream.error or {})["code"]) == ("hello", "upstream_disconnect")


async def test_every_connection_verifies_the_certificate(tmp_path: Path) -> None:
    """The connection that replaces a closed idle connection is verified as well."""
    changed = asyncio.Event()

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(GOOD)
        await changed.wait()

    write_certificate(tmp_path, "server")
    write_certificate(tmp_path, "other")
    context = server_context(tmp_path, "server")
    async with run_upstream(behave, tls=context) as model:
        url = model.url.replace("http:", "https:")
        async with run_bridge_from_file(tmp_path, routes(url), {}) as bridge:
            assert (await bridge.request(HELLO)).status == 200
            context.load_cert_chain(tmp_path / "other.pem", tmp_path / "other.key")
            changed.set()
            response = await bridge.request(HELLO)
            assert (response.status, response.error()["code"]) == (502, "upstream_connect")
            assert "certificate verify failed" in response.error()["message"]
            assert len(model.requests) == 1
