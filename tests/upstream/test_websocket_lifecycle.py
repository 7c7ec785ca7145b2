"""Websockets while they are in use: who may end them and when, and that none is left behind."""

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
from tests.raw_client import HELLO, Response, load_table, run_bridge
from tests.raw_upstream import Connection, run_upstream
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
    """Goes on whatever it is told, until the connection is gone."""
    await accept_handshake(peer)
    await read_frame(peer)
    while True:
        await peer.send(text_message("and on "))
        await asyncio.sleep(0.001)


def gone(behave: Any) -> tuple[Any, asyncio.Event]:
    """The same, and an event of its end."""
    ended = asyncio.Event()

    async def behaves(peer: Connection) -> None:
        try:
            await behave(peer)
        finally:
            ended.set()

    return behaves, ended


def stopping(*pieces: bytes) -> tuple[Any, asyncio.Event]:
    """Says these and no more, and an event of having said them."""
    said = asyncio.Event()

    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        await peer.send(b"".join(pieces))
        said.set()
        await peer.wait_closed()

    return behave, said


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("pieces", [[], [text_message("hello ")]])
async def test_a_client_that_leaves_closes_it(pieces: list[bytes], *, stream: bool) -> None:
    behave, said = stopping(*pieces)
    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send(Variant("done", stream=stream, upstream=True).body)
            await said.wait()
            if stream and pieces:
                assert b"hello" in (await client.head(), await client.chunk())[1]
        await server.wait_until(lambda server: server.closed == 1)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total", route="done")
        await bridge.wait_for_count(0, "bridge_requests_in_progress", route="done")
        assert await bridge.count("bridge_upstream_errors_total") == 0


async def test_a_client_that_leaves_closes_it_in_its_handshake() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.wait_closed()

    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send({**HELLO, "model": "done"})
            await server.wait_until(lambda server: len(server.requests) == 1)
        await server.wait_until(lambda server: server.closed == 1)


async def test_a_client_that_leaves_ends_what_would_not_end() -> None:
    behave, ended = gone(endless)
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
async def test_a_stop_string_ends_what_would_not_end(*, stream: bool) -> None:
    behave, ended = gone(endless)
    file = PATIENT.replace(", stop: $.stop", "")
    async with run_upstream(behave) as server, run_bridge(file, {"UPSTREAM": server.url}) as bridge:
        body = {**Variant("open", stream=stream, upstream=True).body, "stop": "on and"}
        answer = await bridge.request(body)
        said = answer.stream().choice if stream else answer.completion().choice
        assert (said.text, said.finish_reason) == ("and ", "stop")
        await ended.wait()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_last_word_closes_it_at_once(*, stream: bool) -> None:
    """The server says that it is done and waits; it is told that we close."""
    heard: list[tuple[int, bytes]] = []

    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        await peer.send(text_message("hello") + END)
        heard.append(await read_frame(peer))
        await peer.wait_closed()

    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(Variant("done", stream=stream, upstream=True).body)
        said = answer.stream().choice if stream else answer.completion().choice
        assert said.text == "hello"
        await server.wait_until(lambda server: server.closed == 1)
        assert heard == [(CLOSE, (1000).to_bytes(2, "big"))]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_comes_behind_the_last_word_is_not_said(*, stream: bool) -> None:
    behave = websocket_responder(
        text_message("hello") + END + text_message(" and more") + close_frame(1011, "late")
    )
    async with run_upstream(behave) as server, run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(Variant("done", stream=stream, upstream=True).body)
        said = answer.stream().choice if stream else answer.completion().choice
        assert said.text == "hello"


async def test_pings_are_answered_and_count_as_life() -> None:
    """For longer than `idle` in all, and twice: the server thinks, but is there."""

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
        answer = await bridge.request({**HELLO, "model": "open"})
        assert answer.completion().choice.text == "hello"


async def test_a_ping_does_not_shorten_the_wait_for_the_first_message() -> None:
    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        await peer.send(websocket_frame(b"", PING))
        await asyncio.sleep(0.3)  # several times `idle`
        await peer.send(text_message("hello") + close_frame(1000))

    file = WEBSOCKET_ROUTES.replace("first_byte: 300ms, idle: 300ms", "first_byte: 1h, idle: 50ms")
    async with run_upstream(behave) as server, run_bridge(file, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request({**HELLO, "model": "open"})
        assert answer.completion().choice.text == "hello"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_total_bounds_what_would_not_end(*, stream: bool) -> None:
    behave, ended = gone(endless)
    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        answer = await bridge.request(Variant("total", stream=stream, upstream=True).body)
        error = answer.stream().error if stream else answer.error()
        assert error is not None
        assert error["code"] == "upstream_timeout"
        assert "more than 0.3 s" in error["message"]
        await ended.wait()


@pytest.mark.parametrize("behave", [Connection.wait_closed, websocket_responder(stays=True)])
async def test_the_total_bounds_every_wait(behave: Any) -> None:
    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        answer = await bridge.request({**HELLO, "model": "total"})
        assert answer.status == 504
        assert "more than 0.3 s" in answer.error()["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_outlasts_the_drain_has_an_honest_end(*, stream: bool) -> None:
    behave, said = stopping(text_message("hello "))
    async with run_upstream(behave) as server, AsyncExitStack() as stack:
        async with run_bridge(PATIENT, {"UPSTREAM": server.url}) as bridge:
            client = await stack.enter_async_context(bridge.connect())
            await client.send(Variant("done", stream=stream, upstream=True).body)
            await said.wait()
            if stream:
                status, headers = await client.head()
                first = await client.chunk()
        if stream:
            rest = b"".join([piece async for piece in client.chunks()])
            error = Response(status, headers, first + rest, complete=True).stream().error
        else:
            answer = await client.response()
            assert answer.status == 503
            error = answer.error()
        assert error is not None
        assert error["code"] == "shutting_down"
        await server.wait_until(lambda server: server.closed == 1)


async def test_what_was_said_before_it_closed_is_read() -> None:
    """A ping that can no longer be answered is no failure: the good end stands behind it."""

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
        connections = UpstreamClient()
        pieces: list[bytes] = []

        class FirstPiece:
            """A sink that wants no more after one piece."""

            def feed(self, data: bytes) -> bool:
                pieces.append(data)
                return False

        try:
            async with asyncio.timeout(30):
                socket = await connections.send(call.request(), route.transport)
                await socket.read_into(FirstPiece())
                assert not socket.complete
                await asyncio.sleep(0.1)  # so that it has surely closed; the answer is the same if not
                pieces.append(await socket.read(1000))
                await socket.close()
        finally:
            await connections.close()
        assert b"".join(pieces) == encode_message(b'{"text": "hel"}') + encode_message(b'{"text": "lo"}')
