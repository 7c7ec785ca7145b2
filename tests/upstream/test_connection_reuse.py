"""Reuse of upstream connections, retries of requests, and replicas."""

from __future__ import annotations

import asyncio
import socket

import pytest

from bridge.core.headers import RequestHeaders
from bridge.routes.rules.request_template import UpstreamRequest
from bridge.routes.rules.transport import TransportSpec
from bridge.upstream.client import UpstreamClient
from bridge.upstream.keep_alive import announced_idle_timeout
from tests.raw_client import HELLO
from tests.raw_upstream import (
    Connection,
    Handler,
    chunk,
    head,
    http_response,
    responder,
    run_upstream,
)
from tests.running_bridge import run_bridge
from tests.upstream.formats import DONE, completion, frame, stream_head

PLAIN = "routes: [{models: m, upstream: {url: '${UPSTREAM}', timeouts: {idle: 1s, first_byte: 5s}}}]"
GOOD = http_response(completion("hello"))


def route(upstream: str) -> str:
    return f"routes: [{{models: m, upstream: {upstream}}}]"


async def closes_on_reuse(peer: Connection) -> None:
    """Respond once per connection, and close the connection after the next request."""
    await peer.request()
    await peer.send(GOOD)
    await peer.request()


async def resets_on_reuse(peer: Connection) -> None:
    await closes_on_reuse(peer)
    peer.abort()


async def test_a_connection_is_reused() -> None:
    async with (
        run_upstream(responder(GOOD)) as server,
        run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge,
    ):
        for _ in range(5):
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert (server.connections, len(server.requests)) == (1, 5)


TRAILERS = b"".join(b"X-Late-%d: %s\r\n" % (number, b"x" * 60) for number in range(500))


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\n" + TRAILERS + b"\r\n"], ids=["plain", "trailers"])
async def test_a_connection_is_reused_after_a_stream(end: bytes) -> None:
    async def behave(peer: Connection) -> None:
        while await peer.request():
            for piece in (stream_head(), chunk(frame("hello")), chunk(DONE)):
                await peer.send(piece)
            await asyncio.sleep(0.02)
            await peer.send(end)

    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            for number in range(1, 4):
                await client.send({**HELLO, "stream": True})
                assert (await client.response()).stream().choice.text == "hello"
                await bridge.wait_for_count(0, "bridge_requests_in_progress")
                assert await bridge.count("bridge_requests_total") == number
        assert server.connections == 1


@pytest.mark.parametrize("behave", [closes_on_reuse, resets_on_reuse])
@pytest.mark.parametrize("idle", [1, 3])
async def test_a_request_that_is_lost_on_a_reused_connection_is_not_sent_again(
    behave: Handler, idle: int
) -> None:
    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        responses = await asyncio.gather(*(bridge.request(HELLO) for _ in range(idle)))
        assert all(response.status == 200 for response in responses)
        before = len(server.requests)
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["code"]) == (502, "upstream_disconnect")
        assert len(server.requests) == before + 1


async def test_a_lost_request_is_sent_again_if_the_route_says_so() -> None:
    text = route("{url: '${UPSTREAM}', retry: {on: [disconnect], backoff: 1ms}}")
    async with (
        run_upstream(closes_on_reuse) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        for _ in range(3):
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"


async def test_a_connection_that_the_upstream_has_half_closed_is_not_used() -> None:
    """The end has arrived, but the event loop has not reported the end yet."""
    upstream, sockets = UpstreamClient(), list[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_twice() -> None:
            for _ in range(2):
                accepted, _ = listener.accept()
                sockets.append(accepted)
                accepted.recv(65536)
                accepted.sendall(GOOD)

        request = UpstreamRequest(
            "POST", (f"http://127.0.0.1:{listener.getsockname()[1]}/",), RequestHeaders({}), b"{}"
        )
        serving = asyncio.ensure_future(asyncio.to_thread(serve_twice))
        try:
            assert (await upstream.fetch(request, TransportSpec(), 2**20))[0] == 200
            sockets[0].shutdown(socket.SHUT_WR)
            assert (await upstream.fetch(request, TransportSpec(), 2**20))[0] == 200
            await serving
        finally:
            await upstream.close()
            for each in sockets:
                each.close()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"", 4),
        (b"max=5", 4),
        (b"timeout=5", 4),
        (b"max=100, timeout=1", 0.5),
        (b"timeout=0", 0),
        (b"Timeout=75", 60),
        (b"timeout=x", 4),
        (b"xtimeout=9", 4),
    ],
)
def test_the_upstream_announces_how_long_a_connection_may_idle(header: bytes, seconds: float) -> None:
    assert announced_idle_timeout(header, default=4.0) == seconds


@pytest.mark.parametrize(("header", "connections"), [("timeout=30", 1), ("timeout=1", 2)])
async def test_an_idle_connection_is_not_reused_at_the_end_of_its_time(header: str, connections: int) -> None:
    good = http_response(completion("hello"), keep_alive=header)
    async with run_upstream(responder(good)) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).status == 200
        await asyncio.sleep(0.6)
        assert (await bridge.request(HELLO)).status == 200
        assert server.connections == connections


async def test_a_request_with_a_partial_response_is_not_retried() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(GOOD)
        await peer.request()
        await peer.send(GOOD[:-20])

    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).status == 200
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["code"]) == (502, "upstream_disconnect")
        assert len(server.requests) == 2


async def test_a_new_connection_that_closes_is_not_retried() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()

    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["code"]) == (502, "upstream_disconnect")
        assert len(server.requests) == 1


RETRIED_STATUSES = {
    "429": responder(http_response({"error": "busy"}, 429), http_response({"error": "busy"}, 429), GOOD),
    "503": responder(http_response({"error": "loading"}, 503), GOOD),
}


@pytest.mark.parametrize("status", RETRIED_STATUSES)
async def test_a_retryable_status_is_retried(status: str) -> None:
    text = route("{url: '${UPSTREAM}', retry: {backoff: 1ms}}")
    async with (
        run_upstream(RETRIED_STATUSES[status]) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert await bridge.count("bridge_requests_total", code="200") == 1
        assert len({request.data for request in server.requests}) == 1


async def test_another_status_is_not_retried() -> None:
    text = route("{url: '${UPSTREAM}', retry: {backoff: 1ms, on: ['503']}}")
    refusal = http_response({"error": "no"}, 500)
    async with (
        run_upstream(responder(refusal)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        assert (await bridge.request(HELLO)).status == 500
        assert len(server.requests) == 1


async def test_the_response_of_the_last_retry_is_returned() -> None:
    text = route("{url: '${UPSTREAM}', retry: {attempts: 3, backoff: 1ms}}")
    refusal = http_response({"error": {"message": "busy"}}, 429, retry_after="0")
    async with (
        run_upstream(responder(refusal)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["message"]) == (429, "busy")
        assert response.headers["retry-after"] == "0"
        assert len(server.requests) == 4


@pytest.mark.parametrize("on", ["disconnect", "timeout"])
async def test_a_failure_before_the_head_is_retried(on: str) -> None:
    text = route(
        f"{{url: '${{UPSTREAM}}', retry: {{backoff: 1ms, on: [{on}]}}, timeouts: {{first_byte: 100ms}}}}"
    )

    async def behave(peer: Connection) -> None:
        await peer.request()
        if peer.number == 1 and on == "timeout":
            await peer.wait_closed()
        elif peer.number > 1:
            await peer.send(GOOD)

    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert len(server.requests) == 2
        assert await bridge.count("bridge_upstream_errors_total", kind=on) == 1


async def test_a_failure_after_the_head_is_not_retried() -> None:
    text = route("{url: '${UPSTREAM}', retry: {backoff: 1ms}}")

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(head(200, content_length="99") + b"{")

    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["code"]) == (502, "upstream_disconnect")
        assert len(server.requests) == 1


async def test_a_disconnect_ends_the_retries() -> None:
    text = route("{url: '${UPSTREAM}', retry: {attempts: 10, backoff: 10s}}")
    refusal = http_response({"error": "busy"}, 503)
    async with (
        run_upstream(responder(refusal)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        async with bridge.connect() as client:
            await client.send(HELLO)
            await server.wait_until(lambda server: len(server.requests) == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
        assert len(server.requests) == 1


async def test_replicas_are_used_in_turn() -> None:
    text = route("{url: '${ONE}', replicas: ['${TWO}', '${THREE}']}")
    async with (
        run_upstream(responder(GOOD)) as first,
        run_upstream(responder(GOOD)) as second,
        run_upstream(responder(GOOD)) as third,
        run_bridge(text, {"ONE": first.url, "TWO": second.url, "THREE": third.url}) as bridge,
    ):
        for _ in range(6):
            assert (await bridge.request(HELLO)).status == 200
        assert [len(server.requests) for server in (first, second, third)] == [2, 2, 2]


async def test_a_replica_without_connection_is_skipped() -> None:
    text = route("{url: '${ONE}', replicas: ['${TWO}']}")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        closed_url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    async with (
        run_upstream(responder(GOOD)) as second,
        run_bridge(text, {"ONE": closed_url, "TWO": second.url}) as bridge,
    ):
        for _ in range(4):
            assert (await bridge.request(HELLO)).status == 200
        assert len(second.requests) == 4
        assert await bridge.count("bridge_upstream_errors_total", kind="connect") == 2
    async with run_bridge(text, {"ONE": closed_url, "TWO": closed_url}) as bridge:
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["code"]) == (502, "upstream_connect")


async def test_an_error_response_of_a_replica_is_not_skipped() -> None:
    text = route("{url: '${ONE}', replicas: ['${TWO}']}")
    refusal = http_response({"error": "no"}, 500)
    async with (
        run_upstream(responder(refusal)) as first,
        run_upstream(responder(refusal)) as second,
        run_bridge(text, {"ONE": first.url, "TWO": second.url}) as bridge,
    ):
        assert (await bridge.request(HELLO)).status == 500
        assert len(first.requests) + len(second.requests) == 1
