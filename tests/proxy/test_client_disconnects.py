"""Clients that disconnect or read slowly, and the effect on upstream requests."""

from __future__ import annotations

import asyncio
import json

import pytest

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


async def never_responds(peer: Connection) -> None:
    await peer.request()
    await peer.wait_closed()


async def stalls_in_a_response(peer: Connection) -> None:
    await peer.request()
    await peer.send(head(200, content_length="99") + b'{"text": "hel')
    await peer.wait_closed()


async def stalls_in_a_stream(peer: Connection) -> None:
    await peer.request()
    await peer.send(stream_head() + chunk(frame("hello ")))
    await peer.wait_closed()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("behave", [never_responds, stalls_in_a_response])
async def test_a_disconnect_before_output_cancels_the_upstream_request(
    behave: Handler, variant: Variant
) -> None:
    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send(variant.body)
            await server.wait_until(lambda server: len(server.requests) == 1)
            assert await bridge.count("bridge_requests_in_progress", route=variant.model) == 1
        await server.wait_until(lambda server: server.closed == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total", route=variant.model)
        await bridge.wait_for_count(0, "bridge_requests_in_progress", route=variant.model)
        assert await bridge.count("bridge_requests_total", code="499") == 1
        assert await bridge.count("bridge_upstream_errors_total") == 0


@pytest.mark.parametrize(
    "variant", [variant for variant in VARIANTS if variant.stream and variant.upstream], ids=str
)
@pytest.mark.parametrize("action", ["closes", "resets"])
async def test_a_disconnect_from_a_stalled_stream_cancels_the_upstream_request(
    action: str, variant: Variant
) -> None:
    async with (
        run_upstream(stalls_in_a_stream) as server,
        run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge,
    ):
        async with bridge.connect() as client:
            await client.send(variant.body)
            assert (await client.head())[0] == 200
            assert b"hello" in await client.chunk()
            if action == "resets":
                client.writer.transport.abort()
        await server.wait_until(lambda server: server.closed == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total", route=variant.model)
        assert await bridge.count("bridge_upstream_errors_total") == 0


async def test_a_disconnect_from_a_running_stream_cancels_the_upstream_request() -> None:
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


async def test_a_disconnect_cancels_every_upstream_call() -> None:
    async with (
        run_upstream(stalls_in_a_stream) as server,
        run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge,
    ):
        async with bridge.connect() as client:
            await client.send({**HELLO, "model": "own", "stream": True, "n": 3})
            await server.wait_until(lambda server: len(server.requests) == 3)
        await server.wait_until(lambda server: server.closed == 3)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")


async def test_a_failed_call_cancels_the_others() -> None:
    arrived: list[int] = []
    all_arrived = asyncio.Event()

    async def behave(peer: Connection) -> None:
        await peer.request()
        arrived.append(peer.number)
        if len(arrived) == 3:
            all_arrived.set()
        if peer.number == 2:
            # A failure before the third request would keep the bridge from sending it.
            await all_arrived.wait()
            await peer.send(b"noise\r\n\r\n")
        else:
            await peer.wait_closed()

    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request({**HELLO, "model": "own", "n": 3})
        assert (response.status, response.error()["code"]) == (502, "upstream_garbled")
        await server.wait_until(lambda server: server.closed == 2)


async def test_a_disconnect_frees_the_place_in_the_queue() -> None:
    text = PATIENT.replace("body: 64KiB", "concurrency: 1, queue: 1")
    async with (
        run_upstream(never_responds) as server,
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
            await server.wait_until(
                lambda server: len(server.requests) == 2
            )  # the fourth request is admitted


@pytest.mark.parametrize("stream", [True, False])
async def test_a_session_opened_after_a_disconnect_is_closed(*, stream: bool) -> None:
    release = asyncio.Event()

    async def behave(peer: Connection) -> None:
        while await peer.request():
            await release.wait()
            await peer.send(http_response({"session": "s1"}))

    async with run_upstream(behave) as server, run_bridge(SESSION, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send({**HELLO, "stream": stream})
            await server.wait_until(lambda server: len(server.requests) == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
        release.set()
        await server.wait_until(lambda server: len(server.requests) == 2)
        assert [request.path for request in server.requests] == ["/open", "/close"]
        assert server.requests[1].body == {"session": "s1"}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_session_is_closed_after_a_disconnect(*, stream: bool) -> None:
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
                lambda server: [request.path for request in server.requests] == ["/open", "/say"]
            )
        await server.wait_until(lambda server: len(server.requests) == 3)
        assert (server.requests[2].path, server.requests[2].body) == ("/close", {"session": "s1"})


FAILURES = {
    "open": (["/open"], 503),
    "say": (["/open", "/say", "/close"], 503),
    "close": (["/open", "/say", "/close"], 200),
}


@pytest.mark.parametrize("failing", FAILURES)
async def test_a_session_is_closed_after_a_failed_call(failing: str) -> None:
    async def behave(peer: Connection) -> None:
        while (request := await peer.request()) is not None:
            success = {"session": "s1", "text": "hello"}
            await peer.send(
                http_response({"error": "no"}, 503)
                if request.path == f"/{failing}"
                else http_response(success)
            )

    paths, status = FAILURES[failing]
    async with run_upstream(behave) as server:
        async with run_bridge(SESSION, {"UPSTREAM": server.url}) as bridge:
            assert (await bridge.request(HELLO)).status == status
        assert [request.path for request in server.requests] == paths  # the shutdown awaits the closing call


def endless(sent: list[int], piece: bytes) -> Handler:
    """Return a handler that streams as fast as the bridge reads, and counts the bytes."""

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head())
        while True:
            await peer.send(piece)
            sent[0] += len(piece)

    return behave


async def stable_value(number: list[int]) -> int:
    """Return the number after a time without growth."""
    before = -1
    while number[0] != before:
        before = number[0]
        await asyncio.sleep(0.3)
    return before


@pytest.mark.parametrize("model", ["openai", "own"])
async def test_a_client_that_does_not_read_pauses_the_upstream(model: str) -> None:
    text = PATIENT.replace("answer: 256KiB", "answer: 1GiB")
    sent = [0]
    piece = chunk(frame("x" * 16_000))
    async with (
        run_upstream(endless(sent, piece)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        async with bridge.connect(buffer=4096) as client:
            await client.send({**HELLO, "model": model, "stream": True})
            buffered = await stable_value(sent)
            assert buffered < 16 * 2**20, "the buffers of the system and of the bridge are bounded"
            while sent[0] == buffered:  # reading resumes the upstream
                await client.reader.read(2**16)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")


async def test_a_slow_client_gets_the_complete_stream() -> None:
    """Pauses of the client, and an upstream that ends during a pause, are not upstream errors."""
    texts = [f"{number} ".ljust(16_000, "x") for number in range(600)]
    data = stream_response(*map(frame, texts), DONE)
    text = ROUTES.replace("answer: 256KiB", "answer: 1GiB")
    async with run_upstream(responder(data)) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect(buffer=4096) as client:
            await client.send({**HELLO, "model": "own", "stream": True})
            await asyncio.sleep(1.5)  # several times the idle timeout
            response = await client.response()
            assert response.stream().choice.text == "".join(texts)
        assert await bridge.count("bridge_upstream_errors_total") == 0


async def test_a_slow_client_gets_the_complete_response() -> None:
    content = "x" * 5_000_000
    text = ROUTES.replace("answer: 256KiB", "answer: 1GiB")
    async with (
        run_upstream(responder(http_response(completion(content)))) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
        bridge.connect(buffer=4096) as client,
    ):
        await client.send(VARIANTS[2].body)
        await asyncio.sleep(0.5)
        assert (await client.response()).completion().choice.text == content


async def test_an_incomplete_request_ends_with_its_client() -> None:
    async with run_upstream(never_responds) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            data = json.dumps(VARIANTS[0].body).encode()
            await client.send(data, headers={"Content-Length": str(len(data) + 5)})
        assert (await bridge.request(method="GET", path="/v1/models")).status == 200
        assert not server.requests
