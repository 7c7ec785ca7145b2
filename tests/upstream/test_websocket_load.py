"""Much over websockets: answers faster than they are read, and many at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.raw_client import Answer, bridge
from tests.raw_upstream import Peer, upstream
from tests.upstream.formats import Way
from tests.upstream.raw_websocket import SOCKETS, asked, serving, shaken, text

if TYPE_CHECKING:
    from aiohttp import web

PATIENT = SOCKETS.replace("first_byte: 300ms, idle: 300ms", "first_byte: 1h, idle: 1h")


async def test_a_client_that_does_not_read_stops_the_upstream() -> None:
    taken = [0]
    piece = text("x" * 16_000)

    async def behave(peer: Peer) -> None:
        await shaken(peer)
        await asked(peer)
        while True:
            await peer.send(piece)
            taken[0] += len(piece)

    async def settled() -> int:
        before = -1
        while taken[0] != before:
            before = taken[0]
            await asyncio.sleep(0.3)
        return before

    file = PATIENT.replace("answer: 256KiB", "answer: 1GiB")
    async with upstream(behave) as server, bridge(file, {"UPSTREAM": server.url}) as running:
        async with running.connect(buffer=4096) as client:
            await client.send(Way("open", stream=True, upstream=True).body)
            held = await settled()
            assert held < 16 * 2**20
            while taken[0] == held:
                await client.reader.read(2**16)
        await running.until_counted(1, "bridge_client_disconnects_total")


async def test_a_client_that_reads_slowly_gets_all() -> None:
    words = [f"{number} ".ljust(16_000, "x") for number in range(400)]

    async def answer(websocket: web.WebSocketResponse, request: Any) -> None:
        for word in words:
            await websocket.send_json({"text": word})

    file = SOCKETS.replace("answer: 256KiB", "answer: 1GiB")
    async with serving(answer) as (url, _), bridge(file, {"UPSTREAM": url}) as running:
        async with running.connect(buffer=4096) as client:
            await client.send(Way("open", stream=True, upstream=True).body)
            await asyncio.sleep(1)  # several times the idle limit
            assert (await client.answer()).stream().said.text == "".join(words)
        assert await running.count("bridge_upstream_errors_total") == 0


async def test_two_hundred_at_once_leave_nothing_open() -> None:
    """Some end well, some are cut off by the server, and some clients leave."""
    most, now = [0], [0]

    async def answer(websocket: web.WebSocketResponse, request: Any) -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        try:
            await websocket.send_json({"text": "hello"})
            if "leave" in request["say"]:
                await websocket.receive()
            elif "cut" in request["say"]:
                await websocket.close(code=1011, message=b"cut")
            else:
                await websocket.send_json({"text": " you", "end": True})
                await websocket.receive()
        finally:
            now[0] -= 1

    async def one(running: Any, number: int) -> Answer | None:
        said = ("well", "cut", "leave")[number % 3]
        body = {"model": "done", "messages": [{"role": "user", "content": said}], "stream": number % 2 == 0}
        async with running.connect() as client:
            await client.send(body)
            if said == "leave":
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await client.head()
                return None
            answer: Answer = await client.answer()
        return answer

    async with serving(answer) as (url, seen), bridge(PATIENT, {"UPSTREAM": url}) as running:
        answers = await asyncio.gather(*(one(running, number) for number in range(200)))
        assert len(seen) >= 134
        for number, answered in enumerate(answers):
            if number % 3 == 0:
                assert answered is not None
                said = answered.stream() if number % 2 == 0 else answered.completion()
                assert said.said.text == "hello you"
            elif number % 3 == 1:
                assert answered is not None
                error = answered.stream().error if number % 2 == 0 else answered.error()
                assert error is not None
                assert "1011: cut" in error["message"]
        await running.until_counted(0, "bridge_requests_in_progress")
        while any(request.transport is not None for request in seen):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (now[0], most[0] > 1) == (0, True)
