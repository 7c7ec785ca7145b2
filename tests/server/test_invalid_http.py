"""Requests that are not valid HTTP (RFC 9112): each is refused, and the bytes after it are ignored."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from tests.raw_upstream import UpstreamServer, http_response, responder, run_upstream
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


INVALID_HEADS = {
    "no Host": raw_request(host=""),
    "two Hosts": raw_request("Host: bridge"),
    "two different Hosts": raw_request("Host: elsewhere"),
    "a length and chunks": raw_request("Transfer-Encoding: chunked"),
    "two lengths": raw_request("Content-Length: 3"),
    "two equal lengths": raw_request(f"Content-Length: {len(BODY)}"),
    "a list of lengths": raw_request("Content-Length: 2, 2", body=b"") + b"{}",
    "a length that is not a number": raw_request("Content-Length: 3x", body=b""),
    "a length with a sign": raw_request("Content-Length: +2", body=b"") + b"{}",
    "a negative length": raw_request("Content-Length: -2", body=b"") + b"{}",
    "a hexadecimal length": raw_request("Content-Length: 0x2", body=b"") + b"{}",
    "an empty length": raw_request("Content-Length:", body=b""),
    "a length of two numbers": raw_request("Content-Length: 2 2", body=b"") + b"{}",
    "a length over 64 bits": raw_request("Content-Length: 99999999999999999999", body=b""),
    "another coding": raw_request("Transfer-Encoding: gzip", body=b"") + BODY,
    "two codings": chunked(body=b"0\r\n\r\n").replace(b": chunked", b": gzip, chunked"),
    "chunked twice": chunked(body=b"0\r\n\r\n").replace(b": chunked", b": chunked, chunked"),
    "two headers for codings": chunked("Transfer-Encoding: identity", body=b"0\r\n\r\n"),
    "a coding that ends in chunked": chunked(body=b"0\r\n\r\n").replace(b": chunked", b": xchunked"),
    "chunked after a vertical tab": chunked(body=b"0\r\n\r\n").replace(b" chunked", b"\x0bchunked"),
    "chunked in HTTP/1.0": chunked(body=b"0\r\n\r\n", version="HTTP/1.0"),
    "a folded header": raw_request("X-A: a\r\n b"),
    "a folded first header": raw_request(host=" Host: bridge\r\n"),
    "a space in a name": raw_request("X A: a"),
    "a space after a name": raw_request("X-A : a"),
    "a space after the name of the length": raw_request("Content-Length : 5", body=b""),
    "a NUL in a value": raw_request("X-A: a\0b"),
    "a NUL in a name": raw_request("X\0A: a"),
    "a bare carriage return": raw_request("X-A: a\rb"),
    "a bare line feed in a value": raw_request("X-A: a\nX-B: b"),
    "bare line feeds": b"GET /v1/models HTTP/1.1\nHost: bridge\n\n",
    "no colon": raw_request("X-A"),
    "no name": raw_request(": a"),
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2 in the first line": raw_request(version="HTTP/2.0"),
    "HTTP/0.9 in the first line": raw_request(version="HTTP/0.9"),
    "an unknown version": raw_request(version="HTTP/1.2"),
    "a version with two digits": raw_request(version="HTTP/1.10"),
    "a version in lower case": raw_request(version="http/1.1"),
    "no version": b"GET /v1/models\r\n\r\n",
    "an unknown method": raw_request(method="HELLO"),
    "a method in lower case": raw_request(method="post"),
    "a space in the target": raw_request(target="/v1/chat/completions /x"),
    "a target without a path": raw_request(target="*"),
    "a target with an invalid host": raw_request(target="http://[::1"),
    "a long target": raw_request(target="/" + "x" * 9000),
    "a long header": raw_request("X-A: " + "x" * 9000),
    "a long name": raw_request("X" * 9000 + ": a"),
    "a head over 64 KiB": raw_request(*[f"X-{number}: {'x' * 1000}" for number in range(80)]),
    "too many headers": raw_request(*[f"X-{number}: x" for number in range(200)]),
}


@pytest.mark.parametrize("kind", INVALID_HEADS)
async def test_an_invalid_head_is_refused_in_its_turn(
    kind: str, bridge: RunningBridge, server: UpstreamServer
) -> None:
    async with bridge.connect() as client:
        await client.write(raw_request("X-Request-Id: good") + INVALID_HEADS[kind] + raw_request())
        assert (await client.response()).status == 200
        refusal = await client.response()
        assert (refusal.status, refusal.error()["code"]) == (400, "bad_request")
        assert refusal.headers["connection"] == "close"
        assert await client.at_end()
    assert len(server.requests) == 1  # what follows the invalid head is not a request
    await bridge.wait_for_count(1, "bridge_requests_total", code="400")


@pytest.mark.parametrize(
    "kind", ["no Host", "a length and chunks", "chunked in HTTP/1.0", "a head over 64 KiB"]
)
async def test_an_invalid_head_may_arrive_byte_by_byte(kind: str, bridge: RunningBridge) -> None:
    head, _, _ = INVALID_HEADS[kind].partition(b"\r\n\r\n")
    data = head + b"\r\n\r\n"
    pieces = [data] if len(data) > 1000 else [bytes([byte]) for byte in data]
    async with bridge.connect() as client:
        for piece in pieces:
            await client.write(piece)
            await asyncio.sleep(0)
        assert (await client.response()).status == 400
        assert await client.at_end()


CHUNK = b"%x\r\n%b\r\n" % (len(BODY), BODY)
INVALID_CHUNKS = {
    "a size that is not a number": b"zz\r\nhello\r\n",
    "a size with a prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a negative size": b"-2\r\n{}\r\n0\r\n\r\n",
    "a size with a sign": b"+2\r\n{}\r\n0\r\n\r\n",
    "a size over 64 bits": b"fffffffffffffffff\r\n{}\r\n",
    "a space after a size": b"2 \r\n{}\r\n0\r\n\r\n",
    "an empty size": b"\r\n{}\r\n0\r\n\r\n",
    "a line feed after a size": b"2\n{}\r\n0\r\n\r\n",
    "a line feed after a chunk": b"2\r\n{}\n0\r\n\r\n",
    "a chunk longer than its size": b"2\r\n{}}\r\n0\r\n\r\n",
    "a line feed in an extension": b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "a carriage return in an extension": b"2;a\rb\r\n{}\r\n0\r\n\r\n",
    "a long extension": b"2;" + b"x" * 2_000_000 + b"\r\n{}\r\n0\r\n\r\n",
    "a long trailer": CHUNK + b"0\r\nX-A: " + b"x" * 9000 + b"\r\n\r\n",
    "many trailers": CHUNK + b"0\r\n" + b"X-A: b\r\n" * 500 + b"\r\n",
    "a trailer with a length": CHUNK + b"0\r\nContent-Length: 5\r\n\r\n",
    "a folded trailer": CHUNK + b"0\r\nX-A: a\r\n b\r\n\r\n",
}


@pytest.mark.parametrize("size", [2**22, 1000])
@pytest.mark.parametrize("kind", INVALID_CHUNKS)
async def test_an_invalid_chunk_is_refused(
    kind: str, size: int, bridge: RunningBridge, server: UpstreamServer
) -> None:
    data = chunked(body=INVALID_CHUNKS[kind])
    async with bridge.connect() as client:
        for start in range(0, len(data), size):
            client.writer.write(data[start : start + size])
            await asyncio.sleep(0)
        refusal = await client.response()
        assert (refusal.status, refusal.error()["code"]) == (400, "bad_request")
        assert refusal.headers["connection"] == "close"
        client.writer.write(raw_request())
        assert await client.at_end()
    assert not server.requests


async def test_a_head_without_an_end_is_refused(bridge: RunningBridge) -> None:
    async with bridge.connect() as client:
        await client.write(b"POST /v1/chat/completions HTTP/1.1\r\n")
        for number in range(40):
            await client.write(b"X-%d: %b\r\n" % (number, b"x" * 4000))
            await asyncio.sleep(0.001)
        assert (await client.response()).status == 400
        assert await client.at_end()


@pytest.mark.parametrize("authorization", ["Bearer a-key", "Bearer another"])
@pytest.mark.parametrize("piece", [b"X-A: " + b"x" * 8000 + b"\r\n", b"X-A: b\r\n" * 1000, b"x" * 8000])
async def test_endless_trailers_take_no_memory(
    piece: bytes, authorization: str, server: UpstreamServer
) -> None:
    head = chunked(f"Authorization: {authorization}", body=CHUNK + b"0\r\n" + piece[:6])
    async with (
        run_bridge("server: {keys: [a-key]}\n" + ROUTES, {"UPSTREAM": server.url}) as bridge,
        bridge.connect() as client,
    ):
        await client.write(head)
        tracemalloc.start()
        for _ in range(100):
            client.writer.write(piece[6:] + piece[:6])
            await asyncio.sleep(0)
        status, _ = await client.head()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert status == (400 if authorization.endswith("a-key") else 401)
        await client.reader.read()  # the end, though the body has none
    assert peak < 600_000
    assert not server.requests


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\nX-Request-Id: trailer\r\nX-Other: b\r\n\r\n"])
async def test_trailers_do_not_become_headers_of_the_next_request(end: bytes, bridge: RunningBridge) -> None:
    data = chunked("X-Request-Id: first", body=CHUNK + end)
    async with bridge.connect() as client:
        await client.write(data + raw_request())
        ids = [(await client.response()).headers["x-request-id"] for _ in range(2)]
        await client.write(data)
        ids.append((await client.response()).headers["x-request-id"])
        await client.write(raw_request())
        ids.append((await client.response()).headers["x-request-id"])
    assert [ids[0], ids[2]] == ["first", "first"]
    assert all(request_id.startswith("req_") for request_id in (ids[1], ids[3]))


async def test_a_length_may_have_many_zeros(bridge: RunningBridge) -> None:
    head = raw_request(f"Content-Length: {'0' * 5000}{len(BODY)}", body=b"")
    async with bridge.connect() as client:
        for pieces in ([head + BODY], [head, BODY], [head + BODY[:9], BODY[9:]]):
            for piece in pieces:
                await client.write(piece)
                await asyncio.sleep(0.01)
            assert (await client.response()).status == 200


async def test_an_old_client_is_not_sent_100_continue(bridge: RunningBridge) -> None:
    head = raw_request("Expect: 100-continue", f"Content-Length: {len(BODY)}", body=b"", version="HTTP/1.0")
    async with bridge.connect() as client:
        await client.write(head)
        await asyncio.sleep(0.05)
        await client.write(BODY)
        assert (await client.response()).status == 200
        assert await client.at_end()


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_a_declined_upgrade_keeps_the_version_and_the_close_of_the_request(
    version: str, bridge: RunningBridge, server: UpstreamServer
) -> None:
    async with bridge.connect() as client:
        options = ["Upgrade: h2c", "Connection: Upgrade", "Connection: close"]
        await client.write(raw_request(*options, version=version) + raw_request())
        data = await client.reader.read()
    assert data.startswith(f"{version} 200 OK\r\n".encode())
    assert b"Connection: close\r\n" in data
    assert len(server.requests) == 1
