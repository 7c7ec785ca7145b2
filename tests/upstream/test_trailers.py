"""Trailers of upstream responses: dropped, and bounded like headers."""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from bridge.core.errors import UpstreamError
from bridge.upstream.response_parser import ResponseParser, ResponseState
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import DONE, completion, frame, is_stream, stream_head

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
MANY_FIELDS = b"".join(b"x-%d: value\r\n" % number for number in range(1000))


def body(stream: bool) -> bytes:
    if stream:
        return stream_head() + chunk(frame("hello")) + chunk(DONE)
    return HEAD + chunk(str(completion("hello")).replace("'", '"').replace("None", "null").encode())


@pytest.mark.parametrize("stream", [False, True])
async def test_trailers_are_dropped_and_the_connection_is_used_again(*, stream: bool) -> None:
    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            await peer.send(body(is_stream(request)) + b"0\r\nx-trailer: 1\r\nx-other: 2\r\n\r\n")

    text = "routes: [{models: m, upstream: '${UPSTREAM}'}]"
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        for _ in range(2):
            response = await bridge.request({**HELLO, "stream": stream})
            assert response.status == 200
            assert "x-trailer" not in response.headers
            assert b"hello" in response.body
        assert server.connections == 1


@pytest.mark.parametrize(
    "piece", [MANY_FIELDS, b"x: " + b"v" * 65536, b"v" * 65536], ids=["fields", "value", "go on"]
)
async def test_endless_trailers_end_the_response(piece: bytes) -> None:
    ended = asyncio.Event()

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(body(stream=False) + b"0\r\nx: ")
        with suppress(ConnectionError):
            while True:
                await peer.send(piece)
        ended.set()

    text = "routes: [{models: m, upstream: '${UPSTREAM}'}]"
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["code"]) == (502, "upstream_garbled")
        assert (
            response.error()["message"] == "the upstream's trailers are too large: expected up to 65536 bytes"
        )
        await ended.wait()


def feed_all(parser: ResponseParser, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        parser.feed(piece)


def test_trailers_take_no_memory() -> None:
    parser = ResponseParser()
    parser.start()
    parser.feed(HEAD + chunk(b"{}") + b"0\r\n")
    tracemalloc.start()
    try:
        with pytest.raises(UpstreamError):
            feed_all(parser, (b"x-%d: %s\r\n" % (number, b"v" * 1000) for number in range(100_000)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000


def test_the_frames_of_many_chunks_are_no_trailers() -> None:
    """A server may write the size of a chunk, and its data, each in a piece of its own."""
    parser = ResponseParser()
    parser.start()
    parser.feed(HEAD)
    for _ in range(20_000):
        for piece in (b"5\r\n", b"hello", b"\r\n"):
            parser.feed(piece)
        assert parser.take_body() == b"hello"
    parser.feed(b"0\r\n\r\n")
    assert parser.state is ResponseState.COMPLETE


async def test_a_trailer_may_arrive_in_pieces() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        for piece in (body(stream=False), b"0\r", b"\nx-tra", b"iler: ", b"1\r", b"\n", b"\r\n"):
            await peer.send(piece)
            await asyncio.sleep(0.01)

    text = "routes: [{models: m, upstream: '${UPSTREAM}'}]"
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).completion().choice.text == "hello"
