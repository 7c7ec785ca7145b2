"""The connections of clients, byte by byte: several requests on one, cut anywhere, and what is no request."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.raw_client import CHAT, HELLO, Client, RunningBridge, run_bridge
from tests.raw_upstream import Connection, UpstreamServer, http_response, responder, run_upstream
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ON_BOTH_LOOPS = True

ROUTES = 'routes: [{models: m, upstream: "${UPSTREAM}", limits: {body: 1MiB}}]'
DATA = json.dumps(HELLO).encode()


@pytest.fixture
async def server() -> AsyncIterator[UpstreamServer]:
    async with run_upstream(responder(http_response(completion("hello")))) as server:
        yield server


@pytest.fixture
async def bridge(server: UpstreamServer) -> AsyncIterator[RunningBridge]:
    async with run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        yield bridge


def asked(
    *fields: str, method: str = "POST", target: str = CHAT, body: bytes = DATA, version: str = "1.1"
) -> bytes:
    """A request's bytes."""
    sized = [*fields, f"Content-Length: {len(body)}"] if body else fields
    lines = [f"{method} {target} HTTP/{version}", "Host: bridge", *sized, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


CHUNKED = asked("Transfer-Encoding: chunked", "X-Request-Id: 3", body=b"") + b"".join(
    b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (DATA[:5], DATA[5:20], DATA[20:], b"")
)
SEVERAL = (
    asked("X-Request-Id: 1", method="GET", target="/v1/models", body=b"")
    + asked("X-Request-Id: 2")
    + CHUNKED
    + b"\r\n"
    + asked("X-Request-Id: 4", method="DELETE", body=b"")
    + asked("X-Request-Id: 5", "Connection: close")
)
DATES = re.compile(rb"Date: [^\r]*\r\n")


async def replies(bridge: RunningBridge, *pieces: bytes) -> bytes:
    """All that comes back for these bytes, but for the time of day."""
    async with bridge.connect() as client:
        for piece in pieces:
            await client.write(piece)
            await asyncio.sleep(0)
        return DATES.sub(b"", await client.reader.read())


async def test_several_requests_have_their_replies_in_their_order(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(SEVERAL)
        said = [await client.response() for _ in range(5)]
        assert [(one.status, one.headers["x-request-id"]) for one in said] == [
            (200, "1"), (200, "2"), (200, "3"), (405, "4"), (200, "5"),
        ]  # fmt: skip
        assert [one.headers.get("connection") for one in said] == [None] * 4 + ["close"]
        assert await client.at_end()


async def test_requests_are_the_same_however_they_are_cut(bridge: RunningBridge) -> None:
    expected = await replies(bridge, SEVERAL)
    assert expected.count(b"HTTP/1.1 ") == 5
    for at in range(1, len(SEVERAL)):
        assert await replies(bridge, SEVERAL[:at], SEVERAL[at:]) == expected
    assert await replies(bridge, *[bytes([byte]) for byte in SEVERAL]) == expected


async def test_the_next_request_waits_for_its_turn(bridge: RunningBridge, server: UpstreamServer) -> None:
    """Its body is read meanwhile, be it large."""
    padded = json.dumps({**HELLO, "user": "x" * 900_000}).encode()
    async with bridge.connect() as client:
        await client.write(asked() + asked(body=padded) + asked(method="GET", target="/v1/models", body=b""))
        statuses = [(await client.response()).status for _ in range(3)]
    assert statuses == [200, 200, 200]
    assert [len(request.data) for request in server.requests] == [len(DATA), len(padded)]


@pytest.mark.parametrize("size", [262_200, 300_000, 600_000])
async def test_behind_a_large_body_others_are_read(size: int, bridge: RunningBridge) -> None:
    padded = json.dumps({**HELLO, "user": "x" * size}).encode()
    async with bridge.connect() as client:
        await client.write(asked() + asked(body=padded))
        assert [(await client.response()).status for _ in range(2)] == [200, 200]
        await client.write(asked())
        assert (await client.response()).status == 200


async def test_heads_in_pieces_are_each_as_long_as_they_are(bridge: RunningBridge) -> None:
    """What bounds one head does not add up over those of a connection."""
    head = asked("X-A: " + "x" * 4000, method="GET", target="/v1/models", body=b"")
    async with bridge.connect() as client:
        for _ in range(40):
            await client.write(head[:40])
            await asyncio.sleep(0.001)
            await client.write(head[40:])
            assert (await client.response()).status == 200


async def test_who_is_refused_early_may_finish_and_is_answered_no_more(bridge: RunningBridge) -> None:
    whole_request = asked(target="/v1/nowhere")
    async with bridge.connect() as client:
        await client.write(whole_request[:-5])
        answer = await client.response()
        assert (answer.status, answer.headers["connection"]) == (404, "close")
        await client.write(whole_request[-5:] + asked())
        assert await client.at_end()


NO_REQUESTS = {
    "a length and chunks": asked("Transfer-Encoding: chunked"),
    "two lengths": asked("Content-Length: 3"),
    "a length that is none": asked("Content-Length: 3x", body=b""),
    "another coding": asked("Transfer-Encoding: gzip", body=b"") + DATA,
    "a folded line": asked("X-A: a\r\n b"),
    "a space in a name": asked("X A: a"),
    "a space behind a name": asked("X-A : a"),
    "a NUL": asked("X-A: a\0b"),
    "a bare carriage return": asked("X-A: a\rb"),
    "bare line feeds": b"GET /v1/models HTTP/1.1\nHost: bridge\n\n",
    "no name": asked(": a"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method that is none": asked(method="HELLO"),
    "a long target": asked(target="/" + "x" * 9000),
    "a long line": asked("X-A: " + "x" * 9000),
    "many lines": asked(*[f"X-{number}: {'x' * 1000}" for number in range(80)]),
}


@pytest.mark.parametrize("kind", NO_REQUESTS)
async def test_what_is_no_request_is_refused_in_its_turn(
    kind: str, bridge: RunningBridge, server: UpstreamServer
) -> None:
    async with bridge.connect() as client:
        await client.write(asked("X-Request-Id: good") + NO_REQUESTS[kind] + asked())
        assert (await client.response()).status == 200
        answer = await client.response()
        assert (answer.status, answer.error()["code"]) == (400, "bad_request")
        assert answer.headers["connection"] == "close"
        assert await client.at_end()
    assert len(server.requests) == 1  # what stands behind it is nobody's request
    await bridge.wait_for_count(1, "bridge_requests_total", code="400")


async def test_a_head_without_end_is_refused(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(b"POST /v1/chat/completions HTTP/1.1\r\nX-A: ")
        for _ in range(40):
            await client.write(b"x" * 4000)
            await asyncio.sleep(0.001)
        assert (await client.response()).status == 400
        assert await client.at_end()


@pytest.mark.parametrize("size", [8000, 60_000])
async def test_a_large_head_is_taken(size: int, bridge: RunningBridge) -> None:
    fields = [f"X-{number}: {'x' * 7900}" for number in range(size // 7900)]
    assert (await bridge.request(HELLO, headers=dict(field.split(": ") for field in fields))).status == 200


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.3"])
async def test_no_other_protocol_is_spoken(
    protocol: str, bridge: RunningBridge, server: UpstreamServer
) -> None:
    """Java's clients ask for HTTP/2 with every first request, and send their bodies all the same."""
    wanted = asked(
        f"Upgrade: {protocol}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQ"
    )
    bodiless = asked(
        f"Upgrade: {protocol}", "Connection: upgrade", method="GET", target="/v1/models", body=b""
    )
    for data in (wanted * 3 + bodiless * 3 + asked("Connection: close"),):
        expected = await replies(bridge, data)
        assert expected.count(b"HTTP/1.1 200 OK") == 7
        for at in range(1, len(data), 7):
            assert (await replies(bridge, data[:at], data[at:])).count(b"HTTP/1.1 200 OK") == 7
    assert {request.data for request in server.requests} == {DATA}


async def test_there_are_no_tunnels(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n\x16\x03\x01")
        answer = await client.response()
        assert (answer.status, answer.headers["connection"]) == (404, "close")
        assert await client.at_end()


async def test_an_old_client_is_spoken_to_as_it_speaks(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(asked("Connection: keep-alive", version="1.0"))
        answer = await client.response()
        assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
        await client.write(asked(version="1.0"))
        said = await client.reader.read()
        assert said.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"Connection: close" in said


@pytest.mark.parametrize("target", [f"http://elsewhere{CHAT}", f"HTTP://e:1{CHAT}?a=/b", f"{CHAT}?a#b"])
async def test_a_target_may_be_a_whole_url(target: str, bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(asked(target=target))
        assert (await client.response()).completion().choice.text == "hello"


@pytest.mark.parametrize("target", ["http://[::1", "*", "//", "http://h"])
async def test_a_target_that_leads_nowhere_is_404(target: str, bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(asked(target=target))
        assert (await client.response()).status == 404


async def test_of_headers_by_one_name_the_first_counts(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(asked("X-Request-Id: first", "x-request-id: second"))
        assert (await client.response()).headers["x-request-id"] == "first"


async def test_trailers_are_of_no_request(bridge: RunningBridge) -> None:
    chunked = CHUNKED.removesuffix(b"0\r\n\r\n") + b"0\r\nX-Request-Id: trailer\r\n\r\n"
    async with bridge.connect() as client:
        await client.write(chunked + asked())
        said = [await client.response() for _ in range(2)]
    assert [one.status for one in said] == [200, 200]
    assert said[0].headers["x-request-id"] == "3"
    assert said[1].headers["x-request-id"].startswith("req_")


async def test_who_asks_without_end_is_stopped(bridge: RunningBridge) -> None:
    """What waits on a connection is bounded; those that were taken are answered."""
    async with bridge.connect() as client:
        await client.write(asked(method="GET", target="/v1/models", body=b"") * 1000)
        answers: list[str | None] = []
        while not answers or answers[-1] is None:
            answers.append((await client.response()).headers.get("connection"))
        assert 100 < len(answers) < 300
        assert await client.at_end()


async def ended_soon(client: Client) -> bool:
    async with asyncio.timeout(10):
        return await client.at_end()


async def test_a_head_that_does_not_end_is_408(running_fast: RunningBridge) -> None:
    async with running_fast.connect() as client:
        await client.write(asked() + b"POST /v1/chat")
        assert (await client.response()).status == 200
        answer = await client.response()
        assert (answer.status, answer.error()["code"]) == (408, "request_timeout")
        assert await ended_soon(client)


async def test_a_connection_of_no_use_is_closed(running_fast: RunningBridge) -> None:
    async with running_fast.connect() as unused, running_fast.connect() as used:
        await used.write(asked())
        assert (await used.response()).status == 200
        assert await ended_soon(unused)
        assert await ended_soon(used)


@pytest.fixture
async def running_fast(
    server: UpstreamServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningBridge]:
    """Where little time passes between two looks at the connections."""
    monkeypatch.setattr("bridge.server.listener._TIMEOUT_CHECK_INTERVAL", 0.005)
    async with run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        yield bridge


async def test_at_the_end_idle_connections_close_and_others_are_answered() -> None:
    held = asyncio.Event()

    async def slow(peer: Connection) -> None:
        while await peer.request():
            await held.wait()
            await peer.send(http_response(completion("hello")))

    async with run_upstream(slow) as server:
        running_bridge = run_bridge(ROUTES, {"UPSTREAM": server.url})
        bridge = await running_bridge.__aenter__()
        async with bridge.connect() as idle, bridge.connect() as half, bridge.connect() as busy:
            await half.write(b"POST /v1/chat")
            await busy.write(asked() + asked())
            await server.wait_until(lambda seen: bool(seen.requests))
            ending = asyncio.ensure_future(running_bridge.__aexit__(None, None, None))
            assert await ended_soon(idle)
            assert await ended_soon(half)
            held.set()
            said = [await busy.response(), await busy.response()]
            assert [(one.status, one.headers.get("connection")) for one in said] == [
                (200, None),
                (200, "close"),
            ]
            assert await ended_soon(busy)
            await ending
