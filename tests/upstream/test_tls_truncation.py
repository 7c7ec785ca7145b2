"""TLS connections that end in the middle: what was cut off never passes for whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, head, http_response, run_upstream
from tests.upstream.certificates import run_bridge_from_file, server_context, write_certificate
from tests.upstream.daemons import secured
from tests.upstream.formats import completion, frame, stream_head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Behave = Callable[[Connection], Awaitable[None]]

STREAM = {**HELLO, "stream": True}
GOOD = http_response(completion("hello"))


def routes(url: str) -> str:
    rules = 'response: $.text, stream: {text: $.delta, done: "[DONE]"}'
    return f"routes: [{{models: m, upstream: {{url: '{url}', tls: {{ca: server.pem}}}}, {rules}}}]"


def says_half(half: bytes) -> Behave:
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
async def test_a_stream_whose_server_dies_has_no_good_end(half: str, tmp_path: Path) -> None:
    """No TLS connection of a dead process was closed in good order."""
    async with (
        run_upstream(says_half(HALVES[half])) as model,
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
async def test_a_whole_answer_whose_server_dies_is_none(half: bytes, tmp_path: Path) -> None:
    async with (
        run_upstream(says_half(half)) as model,
        secured(tmp_path, model.url) as server,
        run_bridge_from_file(tmp_path, routes(f"https://127.0.0.1:{server.port}/"), {}) as bridge,
        bridge.connect() as client,
    ):
        await client.send(HELLO)
        await model.wait_until(lambda model: len(model.requests) == 1)
        await asyncio.sleep(0.05)  # what was said may have arrived by now, and need not
        server.kill()
        answer = await client.response()
        assert (answer.status, answer.error()["code"]) == (502, "upstream_disconnect")


@pytest.mark.parametrize("resets", [True, False])
async def test_a_connection_that_is_cut_off_is_a_disconnect(resets: bool, tmp_path: Path) -> None:
    """In the middle of a stream, by a reset, or in good order as far as TLS goes."""

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
            answer = await bridge.request(STREAM)
            said = answer.stream()
            assert (said.choice.text, (said.error or {})["code"]) == ("hello", "upstream_disconnect")


async def test_a_server_that_shows_another_certificate_later_is_not_trusted(tmp_path: Path) -> None:
    """Each connection is checked, also one that takes the place of another that was closed while idle."""
    changed = asyncio.Event()

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(GOOD)
        await changed.wait()

    write_certificate(tmp_path, "server")
    write_certificate(tmp_path, "other")
    shows = server_context(tmp_path, "server")
    async with run_upstream(behave, tls=shows) as model:
        url = model.url.replace("http:", "https:")
        async with run_bridge_from_file(tmp_path, routes(url), {}) as bridge:
            assert (await bridge.request(HELLO)).status == 200
            shows.load_cert_chain(tmp_path / "other.pem", tmp_path / "other.key")
            changed.set()
            answer = await bridge.request(HELLO)
            assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")
            assert "certificate verify failed" in answer.error()["message"]
            assert len(model.requests) == 1
