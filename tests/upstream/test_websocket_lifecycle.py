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
from tests.raw_client import HELLO, Answer, bridge, table_of
from tests.raw_upstream import Peer, upstream
from tests.upstream.formats import Way
from tests.upstream.raw_websocket import (
    CLOSE,
    PING,
    PONG,
    SOCKETS,
    asked,
    closing,
    framed,
    says,
    shaken,
    text,
)

PATIENT = SOCKETS.replace("first_byte: 300ms, idle: 300ms", "first_byte: 1h, idle: 1h")
END = framed(b'{"end":true}')


async def endless(peer: Peer) -> None:
    """Goes on whatever it is told, until the connection is gone."""
    await shaken(peer)
    await asked(peer)
    while True:
        await peer.send(text("and on "))
        await asyncio.sleep(0.001)


def gone(behave: Any) -> tuple[Any, asyncio.Event]:
    """The same, and an event of its end."""
    ended = asyncio.Event()

    async def behaves(peer: Peer) -> None:
        try:
            await behave(peer)
        finally:
            ended.set()

    return behaves, ended


def stopping(*pieces: bytes) -> tuple[Any, asyncio.Event]:
    """Says these and no more, and an event of having said them."""
    said = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await shaken(peer)
        await asked(peer)
        await peer.send(b"".join(pieces))
        said.set()
        await peer.stay()

    return behave, said


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("pieces", [[], [text("hello ")]])
async def test_a_client_that_leaves_closes_it(pieces: list[bytes], *, stream: bool) -> None:
    behave, said = stopping(*pieces)
    async with upstream(behave) as server, bridge(PATIENT, {"UPSTREAM": server.url}) as running:
        async with running.connect() as client:
            await client.send(Way("done", stream=stream, upstream=True).body)
            await said.wait()
            if stream and pieces:
                assert b"hello" in (await client.head(), await client.piece())[1]
        await server.until(lambda server: server.closed == 1)
        await running.until_counted(1, "bridge_client_disconnects_total", route="done")
        await running.until_counted(0, "bridge_requests_in_progress", route="done")
        assert await running.count("bridge_upstream_errors_total") == 0


async def test_a_client_that_leaves_closes_it_in_its_handshake() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.stay()

    async with upstream(behave) as server, bridge(PATIENT, {"UPSTREAM": server.url}) as running:
        async with running.connect() as client:
            await client.send({**HELLO, "model": "done"})
            await server.until(lambda server: len(server.requests) == 1)
        await server.until(lambda server: server.closed == 1)


async def test_a_client_that_leaves_ends_what_would_not_end() -> None:
    behave, ended = gone(endless)
    file = PATIENT.replace("answer: 256KiB", "answer: 1GiB")
    async with upstream(behave) as server, bridge(file, {"UPSTREAM": server.url}) as running:
        async with running.connect() as client:
            await client.send(Way("done", stream=True, upstream=True).body)
            await client.head()
            for _ in range(20):
                await client.piece()
        await ended.wait()
        await running.until_counted(1, "bridge_client_disconnects_total")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_string_ends_what_would_not_end(*, stream: bool) -> None:
    behave, ended = gone(endless)
    file = PATIENT.replace(", stop: $.stop", "")
    async with upstream(behave) as server, bridge(file, {"UPSTREAM": server.url}) as running:
        body = {**Way("open", stream=stream, upstream=True).body, "stop": "on and"}
        answer = await running.ask(body)
        said = answer.stream().said if stream else answer.completion().said
        assert (said.text, said.finish_reason) == ("and ", "stop")
        await ended.wait()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_last_word_closes_it_at_once(*, stream: bool) -> None:
    """The server says that it is done and waits; it is told that we close."""
    heard: list[tuple[int, bytes]] = []

    async def behave(peer: Peer) -> None:
        await shaken(peer)
        await asked(peer)
        await peer.send(text("hello") + END)
        heard.append(await asked(peer))
        await peer.stay()

    async with upstream(behave) as server, bridge(PATIENT, {"UPSTREAM": server.url}) as running:
        answer = await running.ask(Way("done", stream=stream, upstream=True).body)
        said = answer.stream().said if stream else answer.completion().said
        assert said.text == "hello"
        await server.until(lambda server: server.closed == 1)
        assert heard == [(CLOSE, (1000).to_bytes(2, "big"))]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_comes_behind_the_last_word_is_not_said(*, stream: bool) -> None:
    behave = says(text("hello") + END + text(" and more") + closing(1011, "late"))
    async with upstream(behave) as server, bridge(PATIENT, {"UPSTREAM": server.url}) as running:
        answer = await running.ask(Way("done", stream=stream, upstream=True).body)
        said = answer.stream().said if stream else answer.completion().said
        assert said.text == "hello"


async def test_pings_are_answered_and_count_as_life() -> None:
    """For longer than `idle` in all, and twice: the server thinks, but is there."""

    async def behave(peer: Peer) -> None:
        await shaken(peer)
        await asked(peer)
        for word in ("hel", "lo"):
            await peer.send(text(word))
            for number in range(10):
                await asyncio.sleep(0.06)
                await peer.send(framed(b"%d" % number, PING))
                assert await asked(peer) == (PONG, b"%d" % number)
        await peer.send(closing(1000))

    async with upstream(behave) as server, bridge(SOCKETS, {"UPSTREAM": server.url}) as running:
        answer = await running.ask({**HELLO, "model": "open"})
        assert answer.completion().said.text == "hello"


async def test_a_ping_does_not_shorten_the_wait_for_the_first_message() -> None:
    async def behave(peer: Peer) -> None:
        await shaken(peer)
        await asked(peer)
        await peer.send(framed(b"", PING))
        await asyncio.sleep(0.3)  # several times `idle`
        await peer.send(text("hello") + closing(1000))

    file = SOCKETS.replace("first_byte: 300ms, idle: 300ms", "first_byte: 1h, idle: 50ms")
    async with upstream(behave) as server, bridge(file, {"UPSTREAM": server.url}) as running:
        answer = await running.ask({**HELLO, "model": "open"})
        assert answer.completion().said.text == "hello"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_total_bounds_what_would_not_end(*, stream: bool) -> None:
    behave, ended = gone(endless)
    async with upstream(behave) as server, bridge(SOCKETS, {"UPSTREAM": server.url}) as running:
        answer = await running.ask(Way("total", stream=stream, upstream=True).body)
        error = answer.stream().error if stream else answer.error()
        assert error is not None
        assert error["code"] == "upstream_timeout"
        assert "more than 0.3 s" in error["message"]
        await ended.wait()


@pytest.mark.parametrize("behave", [Peer.stay, says(stays=True)])
async def test_the_total_bounds_every_wait(behave: Any) -> None:
    async with upstream(behave) as server, bridge(SOCKETS, {"UPSTREAM": server.url}) as running:
        answer = await running.ask({**HELLO, "model": "total"})
        assert answer.status == 504
        assert "more than 0.3 s" in answer.error()["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_outlasts_the_drain_has_an_honest_end(*, stream: bool) -> None:
    behave, said = stopping(text("hello "))
    async with upstream(behave) as server, AsyncExitStack() as stack:
        async with bridge(PATIENT, {"UPSTREAM": server.url}) as running:
            client = await stack.enter_async_context(running.connect())
            await client.send(Way("done", stream=stream, upstream=True).body)
            await said.wait()
            if stream:
                status, headers = await client.head()
                first = await client.piece()
        if stream:
            rest = b"".join([piece async for piece in client.pieces()])
            error = Answer(status, headers, first + rest, complete=True).stream().error
        else:
            answer = await client.answer()
            assert answer.status == 503
            error = answer.error()
        assert error is not None
        assert error["code"] == "shutting_down"
        await server.until(lambda server: server.closed == 1)


async def test_what_was_said_before_it_closed_is_read() -> None:
    """A ping that can no longer be answered is no failure: the good end stands behind it."""

    async def behave(peer: Peer) -> None:
        await shaken(peer)
        await asked(peer)
        await peer.send(text("hel") + framed(b"", PING) + text("lo") + closing(1000))

    async with upstream(behave) as server:
        table = table_of(SOCKETS, {"UPSTREAM": server.url})
        route = next(route for route in table.routes if route.name == "open")
        (leg,) = Exchange(
            RequestContext(route, CHAT, {**HELLO, "model": "open"}, b"{}", id="1", now=0.0)
        ).legs
        connections = UpstreamClient()
        pieces: list[bytes] = []

        class FirstPiece:
            """A sink that wants no more after one piece."""

            def feed(self, data: bytes) -> bool:
                pieces.append(data)
                return False

        try:
            async with asyncio.timeout(30):
                socket = await connections.send(leg.request(), route.transport)
                await socket.read_into(FirstPiece())
                assert not socket.complete
                await asyncio.sleep(0.1)  # so that it has surely closed; the answer is the same if not
                pieces.append(await socket.read(1000))
                await socket.close()
        finally:
            await connections.close()
        assert b"".join(pieces) == encode_message(b'{"text": "hel"}') + encode_message(b'{"text": "lo"}')
