"""Upstreams that respond before the request is complete, and then close, read on, or do neither.

A body of 8 MB exceeds the buffers of the system, so that an upstream must read the body.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, head, http_response, run_upstream
from tests.running_bridge import run_bridge, run_bridge_from_file
from tests.upstream.certificates import server_context, write_certificate
from tests.upstream.formats import DONE, completion, frame, stream_head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.raw_client import Response


ON_BOTH_LOOPS = True

ROUTES = """
routes:
  - {models: m, upstream: {url: "${UPSTREAM}", tls: {verify: false}, timeouts: {first_byte: 10s, idle: 10s}}}
  - {models: hasty, upstream: {url: "${UPSTREAM}", timeouts: {first_byte: 400ms, send: 400ms, idle: 10s}}}
"""
LARGE: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x" * 8_000_000}]}
GOOD = http_response(completion("hello"))


async def read_head(peer: Connection) -> int:
    """Read the head of a request and no byte of its body, and return the length of the body."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = await peer.read(1)
        if not byte:
            return 0
        data += byte
    assert data.startswith(b"POST / HTTP/1.1\r\n"), "the connection starts with the head of a request"
    lines = data.decode("latin-1").lower().split("\r\n")
    return next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))


def refusal(status: int) -> bytes:
    return http_response({"error": {"message": "too much", "code": "c"}}, status)


EARLY: dict[str, tuple[bytes, int]] = {
    "413": (refusal(413), 413),
    "400": (refusal(400), 400),
    "200": (GOOD, 200),
    "413 in chunks": (
        head(413, transfer_encoding="chunked")
        + chunk(b'{"error": {"message": ')
        + chunk(b'"too much"}}')
        + chunk(b""),
        413,
    ),
    "413 with connection close": (
        http_response({"error": {"message": "too much"}}, 413, connection="close"),
        413,
    ),
    "413 after 100": (head(100) + refusal(413), 413),
}

RESET = {**EARLY, "413 until it closes": (head(413) + b'{"error": {"message": "too much"}}', 413)}


def assert_response(response: Response, status: int) -> None:
    assert response.status == status, response
    if status == 200:
        assert response.completion().choice.text == "hello"
    else:
        assert response.error()["message"] == "too much"


@pytest.mark.parametrize("case", RESET)
@pytest.mark.parametrize("reused", [False, True])
async def test_a_response_before_a_reset_is_read(case: str, *, reused: bool) -> None:
    """If an upstream closes with unread data, the system resets the connection."""
    data, status = RESET[case]

    async def behave(peer: Connection) -> None:
        if reused and peer.number == 1:
            await peer.request()
            await peer.send(GOOD)
        await read_head(peer)
        await peer.send(data)

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        if reused:
            assert (await bridge.request(HELLO)).status == 200
        for number in range(1, 4):
            assert_response(await bridge.request(LARGE), status)
            assert server.connections == number, "an answered request is not retried"


@pytest.mark.parametrize("case", EARLY)
async def test_a_connection_is_reused_if_the_rest_of_the_request_is_read(case: str) -> None:
    """The next request finds a connection without unread data."""
    data, status = EARLY[case]
    read = 0

    async def behave(peer: Connection) -> None:
        nonlocal read
        while length := await read_head(peer):
            await peer.send(data)
            if len(await peer.read(length)) < length:
                return
            read += 1

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for number in range(3):
            assert_response(await bridge.request(LARGE), status)
            assert_response(await bridge.request(HELLO), status)
            assert read > number, "a small request arrives completely"


@pytest.mark.parametrize("case", EARLY)
async def test_a_connection_is_dropped_if_the_rest_of_the_request_is_not_read(case: str) -> None:
    """The upstream keeps the connection open, but the bridge closes it and opens another."""
    data, status = EARLY[case]

    async def behave(peer: Connection) -> None:
        await read_head(peer)
        await peer.send(data)
        await asyncio.Event().wait()

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        assert_response(await bridge.request(LARGE), status)
        assert_response(await bridge.request(HELLO), status)
        assert server.connections == 2


@pytest.mark.parametrize("outcome", ["answered", "left", "late"])
async def test_the_rest_of_an_abandoned_request_is_not_sent(outcome: str) -> None:
    """A finished call closes its connection immediately, before the upstream reads the rest."""
    started, finished = asyncio.Event(), asyncio.Event()
    rest = 0

    async def behave(peer: Connection) -> None:
        nonlocal rest
        length = await read_head(peer)
        started.set()
        if outcome == "answered":
            await peer.send(refusal(413))
        await finished.wait()
        rest = length - len(await peer.read(length))

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send({**LARGE, "model": "hasty" if outcome == "late" else "m"})
            if outcome == "left":
                await started.wait()
                client.writer.close()
            else:
                assert (await client.response()).status == (413 if outcome == "answered" else 504)
        await bridge.wait_for_count(0, "bridge_requests_in_progress")
        finished.set()
        await server.wait_until(lambda _: rest > 0)


async def test_an_upstream_that_neither_reads_nor_responds_times_out() -> None:
    async def behave(peer: Connection) -> None:
        await read_head(peer)
        await asyncio.Event().wait()

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request({**LARGE, "model": "hasty"})
        assert (response.status, response.error()["code"]) == (504, "upstream_timeout")
        assert server.connections == 1


async def test_an_upstream_that_closes_without_a_response_is_a_disconnect() -> None:
    async def behave(peer: Connection) -> None:
        await read_head(peer)

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(LARGE)
        assert (response.status, response.error()["code"]) == (502, "upstream_disconnect")
        assert server.connections == 1


@pytest.mark.parametrize(
    "interim", [head(100), head(103, link="</a.css>"), head(102) + head(103) + head(100)]
)
async def test_interim_responses_are_skipped(interim: bytes) -> None:
    """Interim responses arrive before and after the body, on one connection."""

    async def behave(peer: Connection) -> None:
        while length := await read_head(peer):
            await peer.send(interim)
            await asyncio.sleep(0.02)
            data = await peer.read(length)
            await peer.send(interim)
            await asyncio.sleep(0.02)
            await peer.send(http_response(completion(str(len(json.loads(data)["messages"][0]["content"])))))

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for body, length in ((LARGE, "8000000"), (HELLO, "5"), (LARGE, "8000000")):
            assert (await bridge.request(body)).completion().choice.text == length
        assert server.connections == 1


@pytest.mark.parametrize("secure", [False, True])
async def test_a_stream_may_start_before_the_request_is_complete(secure: bool, tmp_path: Path) -> None:
    """Request and response are transferred concurrently, and the complete request arrives."""
    received = asyncio.Semaphore(0)
    pieces = [f"piece {number} " for number in range(8)]
    complete_bodies = 0

    async def behave(peer: Connection) -> None:
        nonlocal complete_bodies
        while length := await read_head(peer):
            left = length
            await peer.send(stream_head())
            for word in pieces:
                await peer.send(chunk(frame(word)))
                await received.acquire()
                left -= len(await peer.read(min(left, length // 7)))
            assert left == 0
            complete_bodies += 1
            await peer.send(chunk(DONE) + chunk(b""))

    write_certificate(tmp_path, "server")
    tls = server_context(tmp_path, "server") if secure else None
    async with run_upstream(behave, tls=tls) as server:
        url = server.url.replace("http:", "https:") if secure else server.url
        async with (
            run_bridge_from_file(tmp_path, ROUTES, {"UPSTREAM": url}) as bridge,
            bridge.connect() as client,
        ):
            for number in (1, 2):
                await client.send({**LARGE, "stream": True})
                assert (await client.head())[0] == 200
                for word in pieces:
                    while word.encode() not in await client.chunk():
                        pass
                    received.release()
                assert b"[DONE]" in b"".join([piece async for piece in client.chunks()])
                await bridge.wait_for_count(0, "bridge_requests_in_progress")
                assert complete_bodies == number


async def test_a_stream_may_end_before_the_request_is_complete() -> None:
    """The client gets the stream; the connection with half a request is not reused."""

    async def behave(peer: Connection) -> None:
        await read_head(peer)
        await peer.send(stream_head() + chunk(frame("hello")) + chunk(DONE) + chunk(b""))
        await asyncio.Event().wait()

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for number in (1, 2):
            response = await bridge.request({**LARGE, "stream": True})
            assert response.stream().choice.text == "hello"
            assert server.connections == number
