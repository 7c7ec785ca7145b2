"""Load on websockets: slow clients and concurrent websockets."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.raw_upstream import Connection, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import Variant
from tests.upstream.raw_websocket import (
    WEBSOCKET_ROUTES,
    accept_handshake,
    read_frame,
    text_message,
    websocket_app,
)

if TYPE_CHECKING:
    from aiohttp import web

    from tests.conftest import ServeApp
    from tests.raw_client import Response

PATIENT = WEBSOCKET_ROUTES.replace("first_byte: 300ms, idle: 300ms", "first_byte: 1h, idle: 1h")


async def test_a_client_that_does_not_read_pauses_the_upstream() -> None:
    sent = [0]
    piece = text_message("x" * 16_000)

    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        while True:
            await peer.send(piece)
            sent[0] += len(piece)

    async def stable_value() -> int:
        before = -1
        while sent[0] != before:
            before = sent[0]
            await asyncio.sleep(0.3)
        return before

    file = PATIENT.replace("answer: 256KiB", "answer: 1GiB")
    async with run_upstream(behave) as server, run_bridge(file, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect(buffer=4096) as client:
            await client.send(Variant("open", stream=True, upstream=True).body)
            buffered = await stable_value()
            assert buffered < 16 * 2**20
            while sent[0] == buffered:
                await client.reader.read(2**16)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")


async def test_a_slow_client_gets_the_complete_stream(serve_app: ServeApp) -> None:
    words = [f"{number} ".ljust(16_000, "x") for number in range(400)]

    async def respond(websocket: web.WebSocketResponse, request: Any) -> None:
        for word in words:
            await websocket.send_json({"text": word})

    file = WEBSOCKET_ROUTES.replace("answer: 256KiB", "answer: 1GiB")
    app, _ = websocket_app(respond)
    url = await serve_app(app)
    async with run_bridge(file, {"UPSTREAM": url}) as bridge:
        async with bridge.connect(buffer=4096) as client:
            await client.send(Variant("open", stream=True, upstream=True).body)
            await asyncio.sleep(1)  # several times the idle timeout
            assert (await client.response()).stream().choice.text == "".join(words)
        assert await bridge.count("bridge_upstream_errors_total") == 0


async def test_two_hundred_concurrent_websockets_leave_nothing_open(serve_app: ServeApp) -> None:
    """Some websockets succeed, some are closed by the upstream, and some clients disconnect."""
    highest, current = [0], [0]

    async def respond(websocket: web.WebSocketResponse, request: Any) -> None:
        current[0] += 1
        highest[0] = max(highest[0], current[0])
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
            current[0] -= 1

    async def send_request(bridge: Any, number: int) -> Response | None:
        text = ("well", "cut", "leave")[number % 3]
        body = {"model": "done", "messages": [{"role": "user", "content": text}], "stream": number % 2 == 0}
        async with bridge.connect() as client:
            await client.send(body)
            if text == "leave":
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await client.head()
                return None
            respond: Response = await client.response()
        return respond

    app, seen = websocket_app(respond)
    url = await serve_app(app)
    async with run_bridge(PATIENT, {"UPSTREAM": url}) as bridge:
        responses = await asyncio.gather(*(send_request(bridge, number) for number in range(200)))
        assert len(seen) >= 134
        for number, response in enumerate(responses):
            if number % 3 == 0:
                assert response is not None
                text = response.stream() if number % 2 == 0 else response.completion()
                assert text.choice.text == "hello you"
            elif number % 3 == 1:
                assert response is not None
                error = response.stream().error if number % 2 == 0 else response.error()
                assert error is not None
                assert "1011: cut" in error["message"]
        await bridge.wait_for_count(0, "bridge_requests_in_progress")
        while any(request.transport is not None for request in seen):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (current[0], highest[0] > 1) == (0, True)
