"""Connections of clients, byte by byte: pipelined requests, cut anywhere, timeouts, shutdown."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.raw_client import CHAT, HELLO, Client
from tests.raw_upstream import Connection, UpstreamServer, http_response, responder, run_upstream
from tests.running_bridge import RunningBridge, run_bridge
from tests.server.raw_requests import BODY, ROUTES, chunked, raw_request
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ON_BOTH_LOOPS = True


@pytest.fixture
async def server() -> AsyncIterator[UpstreamServer]:
    async with run_upstream(responder(http_response(completion("hello")))) as server:
        yield server


@pytest.fixture
async def bridge(server: UpstreamServer) -> AsyncIterator[RunningBridge]:
    async with run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        yield bridge


CHUNKED = chunked(
    "X-Request-Id: 3",
    body=b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (BODY[:5], BODY[5:20], BODY[20:], b"")),
)
PIPELINE = (
    raw_request("X-Request-Id: 1", method="GET", target="/v1/models", body=b"")
    + raw_request("X-Request-Id: 2")
    + CHUNKED
    + b"\r\n"
    + raw_request("X-Request-Id: 4", method="DELETE", body=b"")
    + raw_request("X-Request-Id: 5", "Connection: close")
)
DATES = re.compile(rb"Date: [^\r]*\r\n")


async def exchange(bridge: RunningBridge, *pieces: bytes) -> bytes:
    """Send pieces of bytes. Return all bytes that come back, without the dates."""
    async with bridge.connect() as client:
        for piece in pieces:
            await client.write(piece)
            await asyncio.sleep(0)
        return DATES.sub(b"", await client.reader.read())


async def test_pipelined_requests_are_answered_in_order(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(PIPELINE)
        said = [await client.response() for _ in range(5)]
        assert [(one.status, one.headers["x-request-id"]) for one in said] == [
            (200, "1"), (200, "2"), (200, "3"), (405, "4"), (200, "5"),
        ]  # fmt: skip
        assert [one.headers.get("connection") for one in said] == [None] * 4 + ["close"]
        assert await client.at_end()


async def test_requests_may_be_cut_anywhere(bridge: RunningBridge) -> None:
    expected = await exchange(bridge, PIPELINE)
    assert expected.count(b"HTTP/1.1 ") == 5
    for at in range(1, len(PIPELINE)):
        assert await exchange(bridge, PIPELINE[:at], PIPELINE[at:]) == expected
    assert await exchange(bridge, *[bytes([byte]) for byte in PIPELINE]) == expected


async def test_a_pipelined_request_waits_for_its_turn(bridge: RunningBridge, server: UpstreamServer) -> None:
    padded = json.dumps({**HELLO, "user": "x" * 900_000}).encode()
    async with bridge.connect() as client:
        await client.write(
            raw_request()
            + raw_request(body=padded)
            + raw_request(method="GET", target="/v1/models", body=b"")
        )
        statuses = [(await client.response()).status for _ in range(3)]
    assert statuses == [200, 200, 200]
    assert [len(request.data) for request in server.requests] == [len(BODY), len(padded)]


@pytest.mark.parametrize("size", [262_200, 300_000, 600_000])
async def test_requests_after_a_large_body_are_read(size: int, bridge: RunningBridge) -> None:
    padded = json.dumps({**HELLO, "user": "x" * size}).encode()
    async with bridge.connect() as client:
        await client.write(raw_request() + raw_request(body=padded))
        assert [(await client.response()).status for _ in range(2)] == [200, 200]
        await client.write(raw_request())
        assert (await client.response()).status == 200


async def test_the_sizes_of_heads_do_not_add_up(bridge: RunningBridge) -> None:
    head = raw_request("X-A: " + "x" * 4000, method="GET", target="/v1/models", body=b"")
    async with bridge.connect() as client:
        for _ in range(40):
            await client.write(head[:40])
            await asyncio.sleep(0.001)
            await client.write(head[40:])
            assert (await client.response()).status == 200


async def test_a_client_that_is_refused_early_may_finish_its_request(bridge: RunningBridge) -> None:
    request = raw_request(target="/v1/nowhere")
    async with bridge.connect() as client:
        await client.write(request[:-5])
        answer = await client.response()
        assert (answer.status, answer.headers["connection"]) == (404, "close")
        await client.write(request[-5:] + raw_request())
        assert await client.at_end()


@pytest.mark.parametrize("size", [8000, 60_000])
async def test_a_large_head_is_accepted(size: int, bridge: RunningBridge) -> None:
    fields = [f"X-{number}: {'x' * 7900}" for number in range(size // 7900)]
    assert (await bridge.request(HELLO, headers=dict(field.split(": ") for field in fields))).status == 200


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.3"])
async def test_an_upgrade_is_declined(protocol: str, bridge: RunningBridge, server: UpstreamServer) -> None:
    """Java's clients request HTTP/2 with the first request of a connection, and send its body at once."""
    with_body = raw_request(
        f"Upgrade: {protocol}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQ"
    )
    bodiless = raw_request(
        f"Upgrade: {protocol}", "Connection: upgrade", method="GET", target="/v1/models", body=b""
    )
    for data in (with_body * 3 + bodiless * 3 + raw_request("Connection: close"),):
        expected = await exchange(bridge, data)
        assert expected.count(b"HTTP/1.1 200 OK") == 7
        for at in range(1, len(data), 7):
            assert (await exchange(bridge, data[:at], data[at:])).count(b"HTTP/1.1 200 OK") == 7
    assert {request.data for request in server.requests} == {BODY}


async def test_connect_is_refused(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n\x16\x03\x01")
        answer = await client.response()
        assert (answer.status, answer.headers["connection"]) == (404, "close")
        assert await client.at_end()


async def test_an_http_1_0_client_gets_http_1_0(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(raw_request("Connection: keep-alive", version="HTTP/1.0"))
        answer = await client.response()
        assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
        await client.write(raw_request(version="HTTP/1.0"))
        said = await client.reader.read()
        assert said.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"Connection: close" in said


@pytest.mark.parametrize("target", [f"http://elsewhere{CHAT}", f"HTTP://e:1{CHAT}?a=/b", f"{CHAT}?a#b"])
async def test_a_target_may_be_an_absolute_url(target: str, bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(raw_request(target=target))
        assert (await client.response()).completion().choice.text == "hello"


@pytest.mark.parametrize("target", ["//", "http://h"])
async def test_a_target_without_a_known_path_is_404(target: str, bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(raw_request(target=target))
        assert (await client.response()).status == 404


async def test_the_first_of_several_headers_of_one_name_counts(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(raw_request("X-Request-Id: first", "x-request-id: second"))
        assert (await client.response()).headers["x-request-id"] == "first"


async def test_a_thousand_pipelined_requests_are_all_answered(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(raw_request(method="GET", target="/v1/models", body=b"") * 1000)
        for _ in range(1000):
            assert (await client.response()).status == 200


async def test_reading_stops_while_many_requests_wait() -> None:
    released = asyncio.Event()

    async def wait(connection: Connection) -> None:
        while await connection.request():
            await released.wait()
            await connection.send(http_response(completion("hello")))

    async with (
        run_upstream(wait) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
        bridge.connect() as client,
    ):
        client.writer.write(raw_request() * 100_000)
        await server.wait_until(lambda server: bool(server.requests))
        await asyncio.sleep(0.2)
        assert client.writer.transport.get_write_buffer_size() > len(raw_request()) * 50_000
        released.set()
        for _ in range(100):
            assert (await client.response()).status == 200
        client.writer.transport.abort()


async def closed_soon(client: Client) -> bool:
    async with asyncio.timeout(10):
        return await client.at_end()


async def test_an_unfinished_head_is_408(impatient_bridge: RunningBridge) -> None:
    async with impatient_bridge.connect() as client:
        await client.write(raw_request() + b"POST /v1/chat")
        assert (await client.response()).status == 200
        answer = await client.response()
        assert (answer.status, answer.error()["code"]) == (408, "request_timeout")
        assert await closed_soon(client)


async def test_unused_connections_are_closed(impatient_bridge: RunningBridge) -> None:
    async with impatient_bridge.connect() as silent, impatient_bridge.connect() as used:
        await used.write(raw_request())
        assert (await used.response()).status == 200
        assert await closed_soon(silent)
        assert await closed_soon(used)


@pytest.fixture
async def impatient_bridge(
    server: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningBridge]:
    """Run a bridge with short timeouts for clients."""
    monkeypatch.setattr("bridge.server.http_protocol._KEEPALIVE_TIMEOUT", 0.5)
    async with run_bridge(
        "server: {limits: {first_request: 200ms}}\n" + ROUTES, {"UPSTREAM": server.url}
    ) as bridge:
        yield bridge


async def test_a_shutdown_closes_idle_connections_and_answers_the_others() -> None:
    released = asyncio.Event()

    async def slow(peer: Connection) -> None:
        while await peer.request():
            await released.wait()
            await peer.send(http_response(completion("hello")))

    async with run_upstream(slow) as server:
        running_bridge = run_bridge(ROUTES, {"UPSTREAM": server.url})
        bridge = await running_bridge.__aenter__()
        async with bridge.connect() as idle, bridge.connect() as half, bridge.connect() as busy:
            await half.write(b"POST /v1/chat")
            await busy.write(raw_request() + raw_request())
            await server.wait_until(lambda seen: bool(seen.requests))
            ending = asyncio.ensure_future(running_bridge.__aexit__(None, None, None))
            assert await closed_soon(idle)
            assert await closed_soon(half)
            released.set()
            said = [await busy.response(), await busy.response()]
            assert [(one.status, one.headers.get("connection")) for one in said] == [
                (200, None),
                (200, "close"),
            ]
            assert await closed_soon(busy)
            await ending
