"""TLS connections that end in the middle: what was cut off never passes for whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Peer, chunk, head, upstream, whole
from tests.upstream.certificates import filed, paired, server_context
from tests.upstream.daemons import secured
from tests.upstream.formats import completion, frame, streaming

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Behave = Callable[[Peer], Awaitable[None]]

STREAM = {**HELLO, "stream": True}
GOOD = whole(completion("hello"))


def routes(url: str) -> str:
    rules = 'response: $.text, stream: {text: $.delta, done: "[DONE]"}'
    return f"routes: [{{models: m, upstream: {{url: '{url}', tls: {{ca: server.pem}}}}, {rules}}}]"


def says_half(half: bytes) -> Behave:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(half)
        await peer.stay()

    return behave


TO_THE_END = head(200, content_type="text/event-stream", connection="close")
OF_A_LENGTH = head(200, content_type="text/event-stream", content_length="9999")
HALVES = {
    "in chunks": streaming() + chunk(frame("hello")),
    "in half a chunk": streaming() + b"400\r\n" + frame("hello"),
    "of a length": OF_A_LENGTH + frame("hello"),
    "until it closes": TO_THE_END + frame("hello"),
}


@pytest.mark.parametrize("half", HALVES)
async def test_a_stream_whose_server_dies_has_no_good_end(half: str, tmp_path: Path) -> None:
    """No TLS connection of a dead process was closed in good order."""
    async with (
        upstream(says_half(HALVES[half])) as model,
        secured(tmp_path, model.url) as server,
        filed(tmp_path, routes(f"https://127.0.0.1:{server.port}/"), {}) as running,
        running.connect() as client,
    ):
        await client.send(STREAM)
        assert (await client.head())[0] == 200
        data = b""
        while b"hello" not in data:
            data += await client.piece()
        server.kill()
        data += b"".join([piece async for piece in client.pieces()])
        assert b"[DONE]" not in data
        assert b'"code":"upstream_disconnect"' in data.replace(b": ", b":")
        assert await running.count("bridge_upstream_errors_total", kind="disconnect") == 1


@pytest.mark.parametrize("half", [GOOD[:-5], head(200, transfer_encoding="chunked") + b"9\r\n{"])
async def test_a_whole_answer_whose_server_dies_is_none(half: bytes, tmp_path: Path) -> None:
    async with (
        upstream(says_half(half)) as model,
        secured(tmp_path, model.url) as server,
        filed(tmp_path, routes(f"https://127.0.0.1:{server.port}/"), {}) as running,
        running.connect() as client,
    ):
        await client.send(HELLO)
        await model.until(lambda model: len(model.requests) == 1)
        await asyncio.sleep(0.05)  # what was said may have arrived by now, and need not
        server.kill()
        answer = await client.answer()
        assert (answer.status, answer.error()["code"]) == (502, "upstream_disconnect")


@pytest.mark.parametrize("resets", [True, False])
async def test_a_connection_that_is_cut_off_is_a_disconnect(resets: bool, tmp_path: Path) -> None:
    """In the middle of a stream, by a reset, or in good order as far as TLS goes."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(streaming() + chunk(frame("hello")))
        await asyncio.sleep(0.05)
        if resets:
            peer.abort()

    paired(tmp_path, "server")
    async with upstream(behave, tls=server_context(tmp_path, "server")) as model:
        url = model.url.replace("http:", "https:")
        async with filed(tmp_path, routes(url), {}) as running:
            answer = await running.ask(STREAM)
            said = answer.stream()
            assert (said.said.text, (said.error or {})["code"]) == ("hello", "upstream_disconnect")


async def test_a_server_that_shows_another_certificate_later_is_not_trusted(tmp_path: Path) -> None:
    """Each connection is checked, also one that takes the place of another that was closed while idle."""
    changed = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(GOOD)
        await changed.wait()

    paired(tmp_path, "server")
    paired(tmp_path, "other")
    shows = server_context(tmp_path, "server")
    async with upstream(behave, tls=shows) as model:
        url = model.url.replace("http:", "https:")
        async with filed(tmp_path, routes(url), {}) as running:
            assert (await running.ask(HELLO)).status == 200
            shows.load_cert_chain(tmp_path / "other.pem", tmp_path / "other.key")
            changed.set()
            answer = await running.ask(HELLO)
            assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")
            assert "certificate verify failed" in answer.error()["message"]
            assert len(model.requests) == 1
