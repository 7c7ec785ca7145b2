"""Requests that are held for a server that is still loading (`upstream.wait`)."""

from __future__ import annotations

import asyncio
import socket

from bridge.proxy.retry import Attempts, RetryBudget
from bridge.routes.rules.transport import RetrySpec, TimeoutsSpec, TransportSpec, WaitSpec
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, http_response, responder, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import DONE, completion, frame, stream_response

GOOD = http_response(completion("hello"))
LOADING = http_response({"error": {"message": "Loading model"}}, 503)


def routes(upstream: str) -> str:
    return f"routes: [{{models: m, upstream: {upstream}}}]"


async def test_a_request_is_held_while_the_server_loads() -> None:
    text = routes("{url: '${UPSTREAM}', wait: {for: 10s}}")
    async with (
        run_upstream(responder(LOADING, LOADING, stream_response(frame("hello"), DONE))) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request({**HELLO, "stream": True})
        assert response.stream().choice.text == "hello"
        assert len(server.requests) == 3
        assert await bridge.count("bridge_upstream_retries_total", cause="503") == 2


async def test_a_request_is_held_until_the_server_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    text = routes(f"{{url: 'http://127.0.0.1:{port}', wait: {{for: 10s}}}}")
    async with run_bridge(text, {}) as bridge:
        waiting = asyncio.ensure_future(bridge.request(HELLO))
        await asyncio.sleep(0.3)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"}")
            writer.write(GOOD)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", port):
            assert (await waiting).completion().choice.text == "hello"


async def test_the_failure_is_the_clients_when_the_time_is_over() -> None:
    text = routes("{url: '${UPSTREAM}', wait: {for: 600ms}}")
    async with (
        run_upstream(responder(LOADING)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["message"]) == (503, "Loading model")
        assert len(server.requests) == 2


async def test_other_failures_are_not_waited_for() -> None:
    async def close(peer: Connection) -> None:
        await peer.request()

    text = routes("{url: '${UPSTREAM}', wait: {for: 10s}}")
    async with run_upstream(close) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).error()["code"] == "upstream_disconnect"
        assert len(server.requests) == 1


async def test_a_disconnect_ends_the_wait() -> None:
    text = routes("{url: '${UPSTREAM}', wait: {for: 1h}}")
    async with (
        run_upstream(responder(LOADING)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        async with bridge.connect() as client:
            await client.send(HELLO)
            await server.wait_until(lambda server: len(server.requests) == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
        before = len(server.requests)
        await asyncio.sleep(0.6)
        assert len(server.requests) == before


def attempts(wait: WaitSpec, retry: RetrySpec | None = None, total: float | None = None) -> Attempts:
    transport = TransportSpec(wait=wait, retry=retry, timeouts=TimeoutsSpec(total=total))
    return Attempts(transport, RetryBudget(), started=100.0)


def test_the_interval_grows_to_two_seconds() -> None:
    series = attempts(WaitSpec())
    assert [series.delay(["503"], None, 100.0) for _ in range(6)] == [0.25, 0.5, 1, 2, 2, 2]


def test_a_requested_delay_is_kept_within_the_time() -> None:
    assert attempts(WaitSpec()).delay(["503"], 60.0, 100.0) == 60
    assert attempts(WaitSpec()).delay(["503"], 180.0, 100.0) is None


def test_waits_take_no_retries() -> None:
    series = attempts(WaitSpec(on=("connect",)), RetrySpec(attempts=1, backoff=9.0))
    assert [series.delay(["connect"], None, 100.0) for _ in range(30)][-1] == 2
    assert [series.delay(["503"], None, 100.0) for _ in range(2)] == [9, None]


def test_total_bounds_waits() -> None:
    assert attempts(WaitSpec(), total=5.0).delay(["503"], None, 104.9) is None
