"""Connections that are used again, requests that are sent again, and servers that stand for each other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from tests.raw_client import HELLO, run_bridge
from tests.raw_upstream import Connection, chunk, head, http_response, responder, run_upstream
from tests.upstream.formats import DONE, completion, frame, stream_head

Behave = Callable[[Connection], Awaitable[None]]

PLAIN = "routes: [{models: m, upstream: {url: '${UPSTREAM}', timeouts: {idle: 1s, first_byte: 5s}}}]"
GOOD = http_response(completion("hello"))


def route(upstream: str) -> str:
    return f"routes: [{{models: m, upstream: {upstream}}}]"


async def closes_when_used_again(peer: Connection) -> None:
    """One answer a connection; the next request on it finds it closing."""
    await peer.request()
    await peer.send(GOOD)
    await peer.request()


async def resets_when_used_again(peer: Connection) -> None:
    await closes_when_used_again(peer)
    peer.abort()


async def test_a_connection_is_used_again() -> None:
    async with (
        run_upstream(responder(GOOD)) as server,
        run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge,
    ):
        for _ in range(5):
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert (server.connections, len(server.requests)) == (1, 5)


TRAILERS = b"".join(b"X-Late-%d: %s\r\n" % (number, b"x" * 60) for number in range(2000))


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\n" + TRAILERS + b"\r\n"], ids=["plain", "trailers"])
async def test_it_is_used_again_behind_a_stream(end: bytes) -> None:
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


@pytest.mark.parametrize("behave", [closes_when_used_again, resets_when_used_again])
@pytest.mark.parametrize("idle", [1, 3])
async def test_a_connection_that_closes_as_it_is_used_again_costs_nothing(behave: Behave, idle: int) -> None:
    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        together = await asyncio.gather(*(bridge.request(HELLO) for _ in range(idle)))
        assert all(answer.status == 200 for answer in together)
        for _ in range(3):
            answer = await bridge.request(HELLO)
            assert answer.completion().choice.text == "hello"
        assert await bridge.count("bridge_upstream_errors_total") == 0


async def test_what_was_answered_in_part_is_not_sent_again() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(GOOD)
        await peer.request()
        await peer.send(GOOD[:-20])

    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).status == 200
        answer = await bridge.request(HELLO)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_disconnect")
        assert len(server.requests) == 2


async def test_a_fresh_connection_that_closes_is_not_tried_again() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()

    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(HELLO)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_disconnect")
        assert len(server.requests) == 1


RETRIED = {
    "429": responder(http_response({"error": "busy"}, 429), http_response({"error": "busy"}, 429), GOOD),
    "503": responder(http_response({"error": "loading"}, 503), GOOD),
}


@pytest.mark.parametrize("status", RETRIED)
async def test_a_status_may_be_worth_another_try(status: str) -> None:
    text = route("{url: '${UPSTREAM}', retry: {backoff: 1ms}}")
    async with run_upstream(RETRIED[status]) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert await bridge.count("bridge_requests_total", code="200") == 1
        assert len({request.data for request in server.requests}) == 1


async def test_another_status_is_not() -> None:
    text = route("{url: '${UPSTREAM}', retry: {backoff: 1ms, on: ['503']}}")
    refusal = http_response({"error": "no"}, 500)
    async with (
        run_upstream(responder(refusal)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        assert (await bridge.request(HELLO)).status == 500
        assert len(server.requests) == 1


async def test_the_last_try_tells() -> None:
    text = route("{url: '${UPSTREAM}', retry: {attempts: 3, backoff: 1ms}}")
    refusal = http_response({"error": {"message": "busy"}}, 429, retry_after="9")
    async with (
        run_upstream(responder(refusal)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        answer = await bridge.request(HELLO)
        assert (answer.status, answer.error()["message"]) == (429, "busy")
        assert answer.headers["retry-after"] == "9"
        assert len(server.requests) == 4


@pytest.mark.parametrize("on", ["disconnect", "timeout"])
async def test_a_failure_before_the_head_may_be_worth_another_try(on: str) -> None:
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


async def test_nothing_is_tried_again_behind_its_head() -> None:
    text = route("{url: '${UPSTREAM}', retry: {backoff: 1ms}}")

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(head(200, content_length="99") + b"{")

    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(HELLO)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_disconnect")
        assert len(server.requests) == 1


async def test_a_client_that_leaves_ends_the_tries() -> None:
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
        run_upstream(responder(GOOD)) as one,
        run_upstream(responder(GOOD)) as two,
        run_upstream(responder(GOOD)) as three,
        run_bridge(text, {"ONE": one.url, "TWO": two.url, "THREE": three.url}) as bridge,
    ):
        for _ in range(6):
            assert (await bridge.request(HELLO)).status == 200
        assert [len(server.requests) for server in (one, two, three)] == [2, 2, 2]


async def test_a_replica_that_refuses_is_passed_over() -> None:
    text = route("{url: '${ONE}', replicas: ['${TWO}']}")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = f"http://127.0.0.1:{closed.getsockname()[1]}"
    async with (
        run_upstream(responder(GOOD)) as two,
        run_bridge(text, {"ONE": gone, "TWO": two.url}) as bridge,
    ):
        for _ in range(4):
            assert (await bridge.request(HELLO)).status == 200
        assert len(two.requests) == 4
        assert await bridge.count("bridge_upstream_errors_total", kind="connect") == 2
    async with run_bridge(text, {"ONE": gone, "TWO": gone}) as bridge:
        answer = await bridge.request(HELLO)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")


async def test_a_failure_that_is_an_answer_is_not_passed_over() -> None:
    text = route("{url: '${ONE}', replicas: ['${TWO}']}")
    refusal = http_response({"error": "no"}, 500)
    async with (
        run_upstream(responder(refusal)) as one,
        run_upstream(responder(refusal)) as two,
        run_bridge(text, {"ONE": one.url, "TWO": two.url}) as bridge,
    ):
        assert (await bridge.request(HELLO)).status == 500
        assert len(one.requests) + len(two.requests) == 1
