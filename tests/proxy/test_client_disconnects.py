"""Clients that leave, and clients that read slowly: what becomes of the upstream's work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from tests.raw_client import HELLO, run_bridge
from tests.raw_upstream import Connection, chunk, head, http_response, responder, run_upstream
from tests.upstream.formats import (
    DONE,
    ROUTES,
    VARIANTS,
    Variant,
    completion,
    frame,
    stream_head,
    stream_response,
)

Behave = Callable[[Connection], Awaitable[None]]

ON_BOTH_LOOPS = True

PATIENT = ROUTES.replace("first_byte: 300ms, idle: 300ms", "first_byte: 1h, idle: 1h")

SESSION = """
routes:
  - models: m
    upstream: ${UPSTREAM}
    path: /say
    request: {body: {say: $.last, session: $.session}}
    response: $.text
    stream: $.delta
    session:
      open: {path: /open, body: {}, id: $.session}
      close: {path: /close, body: {session: $.session}}
"""


async def says_nothing(peer: Connection) -> None:
    await peer.request()
    await peer.wait_closed()


async def stops_in_its_answer(peer: Connection) -> None:
    await peer.request()
    await peer.send(head(200, content_length="99") + b'{"text": "hel')
    await peer.wait_closed()


async def stops_in_its_stream(peer: Connection) -> None:
    await peer.request()
    await peer.send(stream_head() + chunk(frame("hello ")))
    await peer.wait_closed()


@pytest.mark.parametrize("way", VARIANTS, ids=str)
@pytest.mark.parametrize("behave", [says_nothing, stops_in_its_answer])
async def test_leaving_before_anything_was_said_ends_the_work(behave: Behave, way: Variant) -> None:
    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send(way.body)
            await server.wait_until(lambda server: len(server.requests) == 1)
            assert await bridge.count("bridge_requests_in_progress", route=way.model) == 1
        await server.wait_until(lambda server: server.closed == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total", route=way.model)
        await bridge.wait_for_count(0, "bridge_requests_in_progress", route=way.model)
        assert await bridge.count("bridge_requests_total", code="499") == 1
        assert await bridge.count("bridge_upstream_errors_total") == 0


@pytest.mark.parametrize("way", [way for way in VARIANTS if way.stream and way.upstream], ids=str)
@pytest.mark.parametrize("how", ["closes", "resets"])
async def test_leaving_a_stream_ends_the_work(how: str, way: Variant) -> None:
    async with (
        run_upstream(stops_in_its_stream) as server,
        run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge,
    ):
        async with bridge.connect() as client:
            await client.send(way.body)
            assert (await client.head())[0] == 200
            assert b"hello" in await client.chunk()
            if how == "resets":
                client.writer.transport.abort()
        await server.wait_until(lambda server: server.closed == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total", route=way.model)
        assert await bridge.count("bridge_upstream_errors_total") == 0


async def test_leaving_a_stream_that_goes_on_ends_the_work() -> None:
    ended = asyncio.Event()

    async def never_stops(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head())
        try:
            while True:
                await peer.send(chunk(frame("and on ")))
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    text = PATIENT.replace("answer: 256KiB", "answer: 1GiB")
    async with run_upstream(never_stops) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send(VARIANTS[1].body)
            await client.head()
            for _ in range(20):
                await client.chunk()
        await ended.wait()
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")


async def test_leaving_several_calls_ends_all_of_them() -> None:
    async with (
        run_upstream(stops_in_its_stream) as server,
        run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge,
    ):
        async with bridge.connect() as client:
            await client.send({**HELLO, "model": "own", "stream": True, "n": 3})
            await server.wait_until(lambda server: len(server.requests) == 3)
        await server.wait_until(lambda server: server.closed == 3)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")


async def test_one_call_that_fails_ends_the_others() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(b"noise\r\n\r\n" if peer.number == 2 else b"")
        if peer.number != 2:
            await peer.wait_closed()

    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request({**HELLO, "model": "own", "n": 3})
        assert (answer.status, answer.error()["code"]) == (502, "upstream_garbled")
        await server.wait_until(lambda server: server.closed == 2)


async def test_leaving_the_queue_gives_its_place_back() -> None:
    text = PATIENT.replace("body: 64KiB", "concurrency: 1, queue: 1")
    async with (
        run_upstream(says_nothing) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
        bridge.connect() as first,
    ):
        await first.send(VARIANTS[0].body)
        await server.wait_until(lambda server: len(server.requests) == 1)
        async with bridge.connect() as second:
            await second.send(VARIANTS[0].body)
            await bridge.wait_for_count(2, "bridge_requests_in_progress")
            third = await bridge.request(VARIANTS[0].body)
            assert (third.status, third.error()["code"]) == (429, "rate_limit_exceeded")
            assert third.headers["retry-after"] == "1"
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
        async with bridge.connect() as fourth:
            await fourth.send(VARIANTS[0].body)
            await bridge.wait_for_count(2, "bridge_requests_in_progress")
            first.writer.close()
            await server.wait_until(lambda server: len(server.requests) == 2)  # its turn has come


@pytest.mark.parametrize("stream", [True, False])
async def test_a_session_that_was_being_opened_is_closed(*, stream: bool) -> None:
    go_on = asyncio.Event()

    async def behave(peer: Connection) -> None:
        while await peer.request():
            await go_on.wait()
            await peer.send(http_response({"session": "s1"}))

    async with run_upstream(behave) as server, run_bridge(SESSION, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send({**HELLO, "stream": stream})
            await server.wait_until(lambda server: len(server.requests) == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
        go_on.set()
        await server.wait_until(lambda server: len(server.requests) == 2)
        assert [request.path for request in server.requests] == ["/open", "/close"]
        assert server.requests[1].body == {"session": "s1"}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_session_is_closed_when_the_client_leaves(*, stream: bool) -> None:
    async def behave(peer: Connection) -> None:
        while (request := await peer.request()) is not None:
            if request.path == "/say":
                await peer.send(
                    stream_head() + chunk(frame("hello")) if stream else head(200, content_length="9")
                )
                await peer.wait_closed()
                return
            await peer.send(http_response({"session": "s1"}))

    async with run_upstream(behave) as server, run_bridge(SESSION, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send({**HELLO, "stream": stream})
            await server.wait_until(
                lambda server: [seen.path for seen in server.requests] == ["/open", "/say"]
            )
        await server.wait_until(lambda server: len(server.requests) == 3)
        assert (server.requests[2].path, server.requests[2].body) == ("/close", {"session": "s1"})


FAILURES = {
    "open": (["/open"], 503),
    "say": (["/open", "/say", "/close"], 503),
    "close": (["/open", "/say", "/close"], 200),
}


@pytest.mark.parametrize("failing", FAILURES)
async def test_a_session_is_closed_when_a_call_fails(failing: str) -> None:
    async def behave(peer: Connection) -> None:
        while (request := await peer.request()) is not None:
            good = {"session": "s1", "text": "hello"}
            await peer.send(
                http_response({"error": "no"}, 503) if request.path == f"/{failing}" else http_response(good)
            )

    paths, status = FAILURES[failing]
    async with run_upstream(behave) as server:
        async with run_bridge(SESSION, {"UPSTREAM": server.url}) as bridge:
            assert (await bridge.request(HELLO)).status == status
        assert [request.path for request in server.requests] == paths  # its end awaits what is to be closed


def endless(peer_sent: list[int], piece: bytes) -> Behave:
    """Streams as fast as it is read, and counts what was taken."""

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head())
        while True:
            await peer.send(piece)
            peer_sent[0] += len(piece)

    return behave


async def settled(number: list[int]) -> int:
    """The number when it has not grown for a while."""
    before = -1
    while number[0] != before:
        before = number[0]
        await asyncio.sleep(0.3)
    return before


@pytest.mark.parametrize("model", ["openai", "own"])
async def test_a_client_that_does_not_read_stops_the_upstream(model: str) -> None:
    text = PATIENT.replace("answer: 256KiB", "answer: 1GiB")
    taken = [0]
    piece = chunk(frame("x" * 16_000))
    async with (
        run_upstream(endless(taken, piece)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        async with bridge.connect(buffer=4096) as client:
            await client.send({**HELLO, "model": model, "stream": True})
            held = await settled(taken)
            assert held < 16 * 2**20, "what the system's buffers and the bridge's hold has a bound"
            while taken[0] == held:  # reading on makes it go on
                await client.reader.read(2**16)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")


async def test_a_client_that_reads_slowly_gets_all() -> None:
    """Neither its pauses nor the upstream's end while it pauses are the upstream's failure."""
    texts = [f"{number} ".ljust(16_000, "x") for number in range(600)]
    data = stream_response(*map(frame, texts), DONE)
    text = ROUTES.replace("answer: 256KiB", "answer: 1GiB")
    async with run_upstream(responder(data)) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect(buffer=4096) as client:
            await client.send({**HELLO, "model": "own", "stream": True})
            await asyncio.sleep(1.5)  # several times the idle limit
            answer = await client.response()
            assert answer.stream().choice.text == "".join(texts)
        assert await bridge.count("bridge_upstream_errors_total") == 0


async def test_a_whole_answer_reaches_a_slow_client() -> None:
    said = "x" * 5_000_000
    text = ROUTES.replace("answer: 256KiB", "answer: 1GiB")
    async with (
        run_upstream(responder(http_response(completion(said)))) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
        bridge.connect(buffer=4096) as client,
    ):
        await client.send(VARIANTS[2].body)
        await asyncio.sleep(0.5)
        assert (await client.response()).completion().choice.text == said


async def test_a_request_that_never_ends_ends_with_its_client() -> None:
    async with run_upstream(says_nothing) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            data = json.dumps(VARIANTS[0].body).encode()
            await client.send(data, headers={"Content-Length": str(len(data) + 5)})
        assert (await bridge.request(method="GET", path="/v1/models")).status == 200
        assert not server.requests
