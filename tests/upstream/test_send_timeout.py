"""Upstreams that stop reading a request (`timeouts.send`)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, http_response, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import completion

ON_BOTH_LOOPS = True

TEXT = "routes: [{models: m, upstream: {url: '${UPSTREAM}', timeouts: {send: 300ms, first_byte: 20s}}}]"
LARGE: dict[str, Any] = {**HELLO, "messages": [{"role": "user", "content": "x" * 20_000_000}]}


async def test_an_upstream_that_stops_reading_is_a_timeout() -> None:
    async def behave(peer: Connection) -> None:
        await peer.read(1000)
        await asyncio.sleep(10)

    async with run_upstream(behave) as server, run_bridge(TEXT, {"UPSTREAM": server.url}) as bridge:
        async with asyncio.timeout(8):
            response = await bridge.request(LARGE)
        assert (response.status, response.error()["code"]) == (504, "upstream_timeout")
        assert "nothing of the request was accepted for 0.3 s" in response.error()["message"]


@pytest.mark.parametrize(("pieces", "pause"), [(10, 0.05), (1, 0.5)])
async def test_a_slow_reader_and_a_slow_response_are_not_cut(pieces: int, pause: float) -> None:
    """Whatever is accepted starts the time again; after the request, `first_byte` counts."""

    async def behave(peer: Connection) -> None:
        head = await peer._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await peer.read(length % pieces)
        for _ in range(pieces):
            await peer.read(length // pieces)
            await asyncio.sleep(pause)
        await peer.send(http_response(completion("hello")))

    async with run_upstream(behave) as server, run_bridge(TEXT, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(LARGE)).completion().choice.text == "hello"
