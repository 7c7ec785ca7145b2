"""Servers that answer before they have the whole request, and then close, read on, or do neither.

A body of 8 MB is more than the system takes in for a server that does not read it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.raw_client import HELLO, run_bridge
from tests.raw_upstream import Connection, chunk, head, http_response, run_upstream
from tests.upstream.certificates import run_bridge_from_file, server_context, write_certificate
from tests.upstream.formats import DONE, completion, frame, stream_head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.raw_client import Response

    Behave = Callable[[Connection], Awaitable[None]]

ON_BOTH_LOOPS = True

ROUTES = """
routes:
  - {models: m, upstream: {url: "${UPSTREAM}", tls: {verify: false}, timeouts: {first_byte: 10s, idle: 10s}}}
  - {models: hasty, upstream: {url: "${UPSTREAM}", timeouts: {first_byte: 400ms, idle: 10s}}}
"""
LARGE: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x" * 8_000_000}]}
GOOD = http_response(completion("hello"))


async def opened(peer: Connection) -> int:
    """Read the head of a request and not a byte more: how long its body is."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = await peer.read(1)
        if not byte:
            return 0
        data += byte
    assert data.startswith(b"POST / HTTP/1.1\r\n"), "what comes is the head of a request"
    lines = data.decode("latin-1").lower().split("\r\n")
    return next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))


def refusing(status: int) -> bytes:
    return http_response({"error": {"message": "too much", "code": "c"}}, status)


EARLY: dict[str, tuple[bytes, int]] = {
    "413": (refusing(413), 413),
    "400": (refusing(400), 400),
    "200": (GOOD, 200),
    "413 in chunks": (
        head(413, transfer_encoding="chunked")
        + chunk(b'{"error": {"message": ')
        + chunk(b'"too much"}}')
        + chunk(b""),
        413,
    ),
    "413 and goodbye": (http_response({"error": {"message": "too much"}}, 413, connection="close"), 413),
    "413 behind 100": (head(100) + refusing(413), 413),
}

RESET = {**EARLY, "413 until it closes": (head(413) + b'{"error": {"message": "too much"}}', 413)}


def is_told(answer: Response, status: int) -> None:
    assert answer.status == status, answer
    if status == 200:
        assert answer.completion().choice.text == "hello"
    else:
        assert answer.error()["message"] == "too much"


@pytest.mark.parametrize("case", RESET)
@pytest.mark.parametrize("reused", [False, True])
async def test_an_answer_ahead_of_a_reset_arrives(case: str, *, reused: bool) -> None:
    """The server closes with most of the request unread: the system then resets the connection."""
    data, status = RESET[case]

    async def behave(peer: Connection) -> None:
        if reused and peer.number == 1:
            await peer.request()
            await peer.send(GOOD)
        await opened(peer)
        await peer.send(data)

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        if reused:
            assert (await bridge.request(HELLO)).status == 200
        for number in range(1, 4):
            is_told(await bridge.request(LARGE), status)
            assert server.connections == number, "what was answered is not asked again"


@pytest.mark.parametrize("case", EARLY)
async def test_an_answer_ahead_of_the_rest_of_the_request(case: str) -> None:
    """The server reads on: the next request finds a connection without remains on it."""
    data, status = EARLY[case]
    read = 0

    async def behave(peer: Connection) -> None:
        nonlocal read
        while length := await opened(peer):
            await peer.send(data)
            if len(await peer.read(length)) < length:
                return
            read += 1

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for number in range(3):
            is_told(await bridge.request(LARGE), status)
            is_told(await bridge.request(HELLO), status)
            assert read > number, "a small request arrives whole"


@pytest.mark.parametrize("case", EARLY)
async def test_an_answer_of_a_server_that_reads_no_more(case: str) -> None:
    """It keeps the connection open: the bridge lets go of it, and asks the next thing on another one."""
    data, status = EARLY[case]

    async def behave(peer: Connection) -> None:
        await opened(peer)
        await peer.send(data)
        await asyncio.Event().wait()

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        is_told(await bridge.request(LARGE), status)
        is_told(await bridge.request(HELLO), status)
        assert server.connections == 2


@pytest.mark.parametrize("how", ["answered", "left", "late"])
async def test_what_nobody_waits_for_is_not_sent(how: str) -> None:
    """A call that is over closes its connection at once, not when its server has read the rest."""
    begun, over = asyncio.Event(), asyncio.Event()
    rest = 0

    async def behave(peer: Connection) -> None:
        nonlocal rest
        length = await opened(peer)
        begun.set()
        if how == "answered":
            await peer.send(refusing(413))
        await over.wait()
        rest = length - len(await peer.read(length))

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send({**LARGE, "model": "hasty" if how == "late" else "m"})
            if how == "left":
                await begun.wait()
                client.writer.close()
            else:
                assert (await client.response()).status == (413 if how == "answered" else 504)
        await bridge.wait_for_count(0, "bridge_requests_in_progress")
        over.set()
        await server.wait_until(lambda _: rest > 0)


async def test_a_server_that_neither_reads_nor_answers_is_too_slow() -> None:
    async def behave(peer: Connection) -> None:
        await opened(peer)
        await asyncio.Event().wait()

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request({**LARGE, "model": "hasty"})
        assert (answer.status, answer.error()["code"]) == (504, "upstream_timeout")
        assert server.connections == 1


async def test_a_server_that_closes_and_says_nothing_is_a_disconnect() -> None:
    async def behave(peer: Connection) -> None:
        await opened(peer)

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(LARGE)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_disconnect")
        assert server.connections == 1


@pytest.mark.parametrize(
    "interim", [head(100), head(103, link="</a.css>"), head(102) + head(103) + head(100)]
)
async def test_interim_answers_are_passed_over(interim: bytes) -> None:
    """Ahead of the body and behind it, on one connection."""

    async def behave(peer: Connection) -> None:
        while length := await opened(peer):
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
async def test_a_stream_that_begins_before_the_request_is_over(secure: bool, tmp_path: Path) -> None:
    """Both flow at once, each piece as it comes, and the whole request arrives."""
    heard = asyncio.Semaphore(0)
    said = [f"piece {number} " for number in range(8)]
    whole_bodies = 0

    async def behave(peer: Connection) -> None:
        nonlocal whole_bodies
        while length := await opened(peer):
            left = length
            await peer.send(stream_head())
            for word in said:
                await peer.send(chunk(frame(word)))
                await heard.acquire()
                left -= len(await peer.read(min(left, length // 7)))
            assert left == 0
            whole_bodies += 1
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
                for word in said:
                    while word.encode() not in await client.chunk():
                        pass
                    heard.release()
                assert b"[DONE]" in b"".join([piece async for piece in client.chunks()])
                await bridge.wait_for_count(0, "bridge_requests_in_progress")
                assert whole_bodies == number


async def test_a_stream_that_is_over_before_the_request_is() -> None:
    """Its client has all of it; the connection, with half a request on it, serves nobody else."""

    async def behave(peer: Connection) -> None:
        await opened(peer)
        await peer.send(stream_head() + chunk(frame("hello")) + chunk(DONE) + chunk(b""))
        await asyncio.Event().wait()

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for number in (1, 2):
            answer = await bridge.request({**LARGE, "stream": True})
            assert answer.stream().choice.text == "hello"
            assert server.connections == number
