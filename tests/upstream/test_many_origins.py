"""Routes with a template in the host of their URLs: the origins that are remembered have a bound."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.upstream import connection_pool
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, run_upstream
from tests.running_bridge import run_bridge, wait_until
from tests.upstream.formats import DONE, frame, stream_head

if TYPE_CHECKING:
    import pytest

# A proxy stands for every host.
ROUTES = "routes: [{models: '*', upstream: {url: 'http://{{ model }}.test/', proxy: '${UPSTREAM}'}}]"


async def test_connections_in_use_are_not_lost_among_many_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_pool, "_MAX_TARGETS", 5)
    monkeypatch.setattr(connection_pool, "_SWEEP_INTERVAL", 0.05)
    go_on, opened = asyncio.Event(), set[Connection]()

    async def behave(peer: Connection) -> None:
        opened.add(peer)
        while await peer.request():
            await peer.send(stream_head(keep_alive="timeout=0") + chunk(frame("hello")))
            await go_on.wait()
            await peer.send(chunk(DONE) + chunk(b""))
        opened.discard(peer)

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        requests = [
            asyncio.ensure_future(bridge.request({**HELLO, "model": f"m{number}", "stream": True}))
            for number in range(12)
        ]
        await server.wait_until(lambda server: len(server.requests) == 12)
        go_on.set()
        for response in await asyncio.gather(*requests):
            assert response.stream().choice.text == "hello"

        async def closed() -> bool:
            return not opened

        await wait_until(closed)
        assert server.connections == 12


async def test_origins_without_connections_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_pool, "_MAX_TARGETS", 2)

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(frame("hello")) + chunk(DONE) + chunk(b""))

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for number in range(6):
            response = await bridge.request({**HELLO, "model": f"m{number % 3}", "stream": True})
            assert response.stream().choice.text == "hello"
        assert server.connections == 6
