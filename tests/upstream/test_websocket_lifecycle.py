"""Lifecycle of websockets: disconnects, stop strings, ends, pings, timeouts and drain."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.framing.length_delimited import encode_message
from bridge.openai.endpoints import CHAT
from bridge.upstream.client import UpstreamClient
from tests.raw_client import HELLO, Response
from tests.raw_upstream import Connection, run_upstream
from tests.running_bridge import load_table, run_bridge
from tests.upstream.formats import Variant
from tests.upstream.raw_websocket import (
    CLOSE,
    PING,
    PONG,
    WEBSOCKET_ROUTES,
    accept_handshake,
    close_frame,
    read_frame,
    text_message,
    websocket_frame,
    websocket_responder,
)

PATIENT = WEBSOCKET_ROUTES.replace("first_byte: 300ms, idle: 300ms", "first_byte: 1h, idle: 1h")
END = websocket_frame(b'{"end":true}')


async def endless(peer: Connection) -> None:
    """Send messages without end, until the connection is closed."""
    await accept_handshake(peer)
    await read_frame(peer)
    while True:
        await peer.send(text_message("and on "))
        await asyncio.sleep(0.001)


def with_end_event(behave: Any) -> tuple[Any, asyncio.Event]:
    """Return the handler, and an event that is set at its end."""
    ended = asyncio.Event()

    async def behave_and_set(peer: Connection) -> None:
        try:
            await behave(peer)
        finally:
            ended.set()

    return behave_and_set, ended


def stalling(*pieces: bytes) -> tuple[Any, asyncio.Event]:
    """Return a handler that sends these bytes and waits, and an event that is set after sending."""
    sent = asyncio.Event()

    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        await peer.send(b"".join(pieces))
        sent.set()
        await peer.wait_closed()

    return behave, sent


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("pieces", [[], [text_message("hello ")]])
async def test_a_disconnect_closes_the_websocket(pieces: list[bytes], *, stream: bool) -> None:
    behave, sent = stalling(*pieces)
    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send(Variant("done", stream=stream, upstream=True).body)
            await sent.wait()
            if stream and pieces:
                assert b"hello" in (await client.head(), await client.chunk())[1]
        await server.wait_until(lambda server: server.closed == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total", route="done")
        await bridge.wait_for_count(0, "bridge_requests_in_progress", route="done")
        assert await bridge.count("bridge_upstream_errors_total") == 0


async def test_a_disconnect_during_the_handshake_closes_the_connection() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.wait_closed()

    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send({**HELLO, "model": "done"})
            await server.wait_until(lambda server: len(server.requests) == 1)
        await server.wait_until(lambda server: server.closed == 1)


async def test_a_disconnect_ends_an_endless_websocket() -> None:
    behave, ended = with_end_event(endless)
    file = PATIENT.replace("answer: 256KiB", "answer: 1GiB")
    async with run_upstream(behave) as server, run_bridge(file, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send(Variant("done", stream=True, upstream=True).body)
            await client.head()
            for _ in range(20):
                await client.chunk()
        await ended.wait()
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_string_ends_an_endless_websocket(*, stream: bool) -> None:
    behave, ended = with_end_event(endless)
    file = PATIENT.replace(", stop: $.stop", "")
    async with run_upstream(behave) as server, run_bridge(file, {"UPSTREAM": server.url}) as bridge:
        body = {**Variant("open", stream=stream, upstream=True).body, "stop": "on and"}
        response = await bridge.request(body)
        sent = response.stream().choice if stream else response.completion().choice
        assert (sent.text, sent.finish_reason) == ("and ", "stop")
        await ended.wait()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_end_message_closes_the_websocket_immediately(*, stream: bool) -> None:
    """The upstream sends the end message and waits for the close frame of the bridge."""
    frames: list[tuple[int, bytes]] = []

    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        await peer.send(text_message("hello") + END)
        frames.append(await read_frame(peer))
        await peer.wait_closed()

    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(Variant("done", stream=stream, upstream=True).body)
        sent = response.stream().choice if stream else response.completion().choice
        assert sent.text == "hello"
        await server.wait_until(lambda server: server.closed == 1)
        assert frames == [(CLOSE, (1000).to_bytes(2, "big"))]


@pytest.mark.parametrize("stream", [False, True])
async def test_messages_after_the_end_message_are_discarded(*, stream: bool) -> None:
    behave = websocket_responder(
        text_message("hello") + END + text_message(" and more") + close_frame(1011, "late")
    )
    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(Variant("done", stream=stream, upstream=True).body)
        sent = response.stream().choice if stream else response.completion().choice
        assert sent.text == "hello"


async def test_pings_are_answered_and_reset_the_idle_timeout() -> None:
    """Twice, the upstream sends only pings for longer than the idle timeout."""

    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        for word in ("hel", "lo"):
            await peer.send(text_message(word))
            for number in range(10):
                await asyncio.sleep(0.06)
                await peer.send(websocket_frame(b"%d" % number, PING))
                assert await read_frame(peer) == (PONG, b"%d" % number)
        await peer.send(close_frame(1000))

    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request({**HELLO, "model": "open"})
        assert response.completion().choice.text == "hello"


async def test_a_ping_does_not_start_the_idle_timeout_before_the_first_message() -> None:
    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        await peer.send(websocket_frame(b"", PING))
        await asyncio.sleep(0.3)  # several times the idle timeout
        await peer.send(text_message("hello") + close_frame(1000))

    file = WEBSOCKET_ROUTES.replace("first_byte: 300ms, idle: 300ms", "first_byte: 1h, idle: 50ms")
    async with run_upstream(behave) as server, run_bridge(file, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request({**HELLO, "model": "open"})
        assert response.completion().choice.text == "hello"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_total_timeout_ends_an_endless_websocket(*, stream: bool) -> None:
    behave, ended = with_end_event(endless)
    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(Variant("total", stream=stream, upstream=True).body)
        error = response.stream().error if stream else response.error()
        assert error is not None
        assert error["code"] == "upstream_timeout"
        assert "more than 0.3 s" in error["message"]
        await ended.wait()


@pytest.mark.parametrize("behave", [Connection.wait_closed, websocket_responder(waits=True)])
async def test_the_total_timeout_bounds_every_wait(behave: Any) -> None:
    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request({**HELLO, "model": "total"})
        assert response.status == 504
        assert "more than 0.3 s" in response.error()["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_websocket_that_outlasts_the_drain_ends_with_an_error(*, stream: bool) -> None:
    behave, sent = stalling(text_message("hello "))
    async with run_upstream(behave) as server, AsyncExitStack() as stack:
        async with run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
            client = await stack.enter_async_context(bridge.connect())
            await client.send(Variant("done", stream=stream, upstream=True).body)
            await sent.wait()
            if stream:
                status, headers = await client.head()
                first = await client.chunk()
        if stream:
            rest = b"".join([piece async for piece in client.chunks()])
            error = Response(status, headers, first + rest, complete=True).stream().error
        else:
            response = await client.response()
            assert response.status == 503
            error = response.error()
        assert error is not None
        assert error["code"] == "shutting_down"
        await server.wait_until(lambda server: server.closed == 1)


async def test_messages_before_the_close_are_read() -> None:
    """A ping that cannot be answered is not a failure, since the messages after the ping are complete."""

    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        await peer.send(
            text_message("hel") + websocket_frame(b"", PING) + text_message("lo") + close_frame(1000)
        )

    async with run_upstream(behave) as server:
        table = load_table(WEBSOCKET_ROUTES, {"UPSTREAM": server.url})
        route = next(route for route in table.routes if route.name == "open")
        (call,) = Exchange(
            RequestContext(route, CHAT, {**HELLO, "model": "open"}, b"{}", id="1", now=0.0)
        ).calls
        upstream = UpstreamClient()
        pieces: list[bytes] = []

        class FirstPiece:
            """A sink that accepts no more after one piece."""

            def feed(self, data: bytes) -> bool:
                pieces.append(data)
                return False

        try:
            async with asyncio.timeout(30):
                websocket = await upstream.send(call.request(), route.transport)
                await websocket.read_into(FirstPiece())
                assert not websocket.complete
                await asyncio.sleep(0.1)  # the upstream has probably closed by then
                pieces.append(await websocket.read(1000))
                await websocket.close()
        finally:
            await upstream.close()
        assert b"".join(pieces) == encode_message(b'{"text": "hel"}') + encode_message(b'{"text": "lo"}')
