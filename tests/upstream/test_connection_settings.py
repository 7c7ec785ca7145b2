"""The settings of connections: their age, their idle time, and probes of TCP (`upstream.connections`)."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from bridge.core.headers import RequestHeaders
from bridge.routes.rules.request_template import UpstreamRequest
from bridge.routes.rules.transport import ConnectionsSpec, TransportSpec
from bridge.upstream.client import UpstreamClient
from tests.raw_client import HELLO
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from bridge.upstream.http_connection import HTTPConnection

ON_BOTH_LOOPS = True

GOOD = http_response(completion("hello"))


def routes(connections: str) -> str:
    return f"routes: [{{models: m, upstream: {{url: '${{UPSTREAM}}', connections: {connections}}}}}]"


@pytest.mark.parametrize(
    ("settings", "header", "connections"),
    [
        ("{max_age: 300ms}", {}, 2),
        ("{max_age: 300ms}", {"keep_alive": "timeout=60"}, 2),
        ("{idle: 300ms}", {}, 2),
        ("{idle: 300ms}", {"keep_alive": "timeout=60"}, 1),
        ("{}", {}, 1),
    ],
)
async def test_a_connection_is_used_until_it_is_old(
    settings: str, header: dict[str, str], connections: int
) -> None:
    good = http_response(completion("hello"), **header)
    async with (
        run_upstream(responder(good)) as server,
        run_bridge(routes(settings), {"UPSTREAM": server.url}) as bridge,
    ):
        assert (await bridge.request(HELLO)).status == 200
        assert (await bridge.request(HELLO)).status == 200
        assert server.connections == 1
        await asyncio.sleep(0.4)
        assert (await bridge.request(HELLO)).status == 200
        assert server.connections == connections


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="the system names the option otherwise")
@pytest.mark.parametrize(("seconds", "enabled"), [(60.0, 1), (0.3, 1), (0.0, 0)])
async def test_tcp_probes_silent_connections(seconds: float, enabled: int) -> None:
    transport = TransportSpec(connections=ConnectionsSpec(keepalive=seconds))
    async with run_upstream(responder(GOOD)) as server:
        upstream = UpstreamClient()
        try:
            await upstream.fetch(
                UpstreamRequest("POST", (server.url,), RequestHeaders({}), b"{}"), transport, 2**20
            )
            connection: HTTPConnection
            (connection,) = upstream._pool._connections
            used = connection._transport.get_extra_info("socket")
            assert bool(used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is bool(enabled)
            if enabled:
                idle = used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
                assert idle == max(1, round(seconds))
        finally:
            await upstream.close()
