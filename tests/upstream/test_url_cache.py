"""Routes with templated URLs: the cache of targets is bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.upstream import connection_pool as connections
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, run_upstream
from tests.running_bridge import run_bridge, wait_until
from tests.upstream.formats import DONE, frame, stream_head

if TYPE_CHECKING:
    import pytest


async def test_connections_in_use_are_kept_when_the_url_cache_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "_MAX_TARGETS", 5)
    monkeypatch.setattr(connections, "_SWEEP", 0.05)
    monkeypatch.setattr(connections, "_KEEPALIVE_EXPIRY", 0.1)
    release, opened = asyncio.Event(), set[Connection]()

    async def behave(peer: Connection) -> None:
        opened.add(peer)
        while await peer.request():
            await peer.send(stream_head() + chunk(frame("hello")))
            await release.wait()
            await peer.send(chunk(DONE) + chunk(b""))
        opened.discard(peer)

    text = "routes: [{models: '*', upstream: '${UPSTREAM}/{{ model }}'}]"
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        pending = [
            asyncio.ensure_future(bridge.request({**HELLO, "model": f"m{number}", "stream": True}))
            for number in range(12)
        ]
        await server.wait_until(lambda server: len(server.requests) == 12)
        release.set()
        for response in await asyncio.gather(*pending):
            assert response.stream().choice.text == "hello"

        async def closed() -> bool:
            return not opened

        await wait_until(closed)
        assert server.connections == 12
