"""Upstreams that fail before anything was said: the client gets the true status, whole or streamed."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.raw_client import run_bridge
from tests.raw_upstream import Connection, chunk, head, http_response, responder, run_upstream
from tests.upstream.formats import (
    DONE,
    ROUTES,
    VARIANTS,
    Variant,
    completion,
    event,
    frame,
    is_stream,
    stream_head,
    stream_response,
)

Behave = Callable[[Connection], Awaitable[None]]

HTML = b"<html><head><title>Welcome to nginx!</title></head><body><h1>It works</h1></body></html>"


def says(*pieces: bytes, stays: bool = False) -> Behave:
    """Answers one request with these bytes, whatever was asked, then closes, or does not."""

    async def behave(peer: Connection) -> None:
        if await peer.request() is None:
            return
        for piece in pieces:
            await peer.send(piece)
        if stays:
            await peer.wait_closed()

    return behave


def by_kind(for_whole: bytes, for_stream: bytes) -> Behave:
    """Answers as it was asked to, and closes."""

    async def behave(peer: Connection) -> None:
        if (request := await peer.request()) is not None:
            await peer.send(for_stream if is_stream(request) else for_whole)

    return behave


async def resets(peer: Connection) -> None:
    await peer.request()
    peer.abort()


async def closes_at_once(peer: Connection) -> None:
    pass


def page(status: int) -> bytes:
    return http_response(HTML, status, content_type="text/html")


CHUNKED = head(200, content_type="application/json", transfer_encoding="chunked")
HALF = json.dumps(completion("hello")).encode()[:-10]

FAULTS: dict[str, tuple[Behave, int, str]] = {
    "says nothing": (says(stays=True), 504, "upstream_timeout"),
    "says half a head, then nothing": (
        says(b"HTTP/1.1 200 OK\r\nConte", stays=True),
        504,
        "upstream_timeout",
    ),
    "says its head, then nothing": (says(CHUNKED, stays=True), 504, "upstream_timeout"),
    "promises a length, then nothing": (says(head(content_length="9"), stays=True), 504, "upstream_timeout"),
    "closes at once": (closes_at_once, 502, "upstream_disconnect"),
    "closes before its head": (says(), 502, "upstream_disconnect"),
    "closes inside of its head": (says(b"HTTP/1.1 200 OK\r\nConte"), 502, "upstream_disconnect"),
    "resets": (resets, 502, "upstream_disconnect"),
    "is short of its length": (says(head(content_length="999") + HALF), 502, "upstream_disconnect"),
    "cuts a chunk": (says(CHUNKED + b"400\r\n" + HALF), 502, "upstream_disconnect"),
    "leaves out the last chunk": (says(CHUNKED + chunk(HALF)), 502, "upstream_disconnect"),
    "speaks SSH": (says(b"SSH-2.0-OpenSSH_9.6\r\n"), 502, "upstream_garbled"),
    "speaks noise": (says(bytes(range(256)) * 4), 502, "upstream_garbled"),
    "speaks TLS": (says(b"\x15\x03\x01\x00\x02\x02\x50"), 502, "upstream_"),
    "has two lengths": (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        502,
        "up",
    ),
    "has an endless head": (says(head(x_filler="x" * 70_000)), 502, "upstream_garbled"),
    "is HTML under 200": (says(page(200)), 502, "upstream_"),
    "is HTML under 502": (says(page(502)), 502, "upstream_refused"),
    "is HTML under 404": (says(page(404)), 404, ""),
    "is empty": (says(http_response(b"")), 502, "upstream_"),
    "is empty in chunks": (says(CHUNKED + chunk(b"")), 502, "upstream_"),
    "is blank": (says(http_response(b" \n\n ")), 502, "upstream_"),
    "is 204": (says(head(204)), 502, "upstream_"),
    "is only NULs": (says(http_response(b"\0" * 50)), 502, "upstream_"),
    "is not UTF-8": (says(http_response(b"\xff\xfe\x80" * 50)), 502, "upstream_"),
    "has no text": (
        by_kind(http_response({"said": "hello"}), stream_response(event({"said": "hello"}), DONE)),
        502,
        "upstream_empty",
    ),
    "has null for a text": (
        by_kind(
            http_response({"text": None, "choices": [{"message": {"content": None}}]}),
            stream_response(
                event({"delta": None, "choices": [{"index": 0, "delta": {"content": None}}]}), DONE
            ),
        ),
        502,
        "upstream_empty",
    ),
    "only says that it is done": (by_kind(http_response({}), stream_response(DONE)), 502, "upstream_empty"),
    "only comments": (
        by_kind(http_response({}), stream_response(b": ping\n\n", b": ping\n\n")),
        502,
        "upstream_empty",
    ),
    "is a list": (says(http_response(b"[1, 2]")), 502, "upstream_"),
    "is over limits.answer": (
        by_kind(
            http_response(completion("x" * 300_000)),
            stream_response(*([b": " + b"x" * 30_000 + b"\n\n"] * 10)),
        ),
        502,
        "upstream_limit",
    ),
    "is no gzip": (says(http_response(b"plain text", content_encoding="gzip")), 502, "upstream_"),
    "is cut gzip": (
        says(http_response(gzip.compress(HALF)[:-12], content_encoding="gzip")),
        502,
        "upstream_",
    ),
    "is of an unknown encoding": (
        says(http_response(b"plain text", content_encoding="x-none")),
        502,
        "upstream_",
    ),
    "fails under 200, as OpenAI": (
        by_kind(
            http_response({"error": {"message": "out of memory", "type": "server_error"}}),
            stream_response(event({"error": {"message": "out of memory", "type": "server_error"}})),
        ),
        502,
        "upstream_refused",
    ),
    "has a chunk size that is none": (says(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"), 502, "upstream_"),
}


@pytest.mark.parametrize("way", VARIANTS, ids=str)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_an_error_of_its_own_status(fault: str, way: Variant) -> None:
    behave, status, code = FAULTS[fault]
    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(way.body)
        error = answer.error()
        assert answer.status == status, error
        assert (error["code"] or "").startswith(code), error
        assert server.requests or fault == "closes at once"
        await bridge.wait_for_count(1, "bridge_upstream_errors_total", route=way.model)


@pytest.mark.parametrize("way", VARIANTS, ids=str)
async def test_a_port_that_refuses_is_502(way: Variant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with run_bridge(ROUTES, {"UPSTREAM": f"http://127.0.0.1:{port}"}) as bridge:
        answer = await bridge.request(way.body)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")
        assert await bridge.count("bridge_upstream_errors_total", route=way.model, kind="connect") == 1


@pytest.mark.parametrize(
    "url", ["http://nothing.invalid", "http://nothing.invalid:99", "https://127.0.0.1:1"]
)
async def test_a_host_that_is_none_is_502(url: str) -> None:
    async with run_bridge(ROUTES, {"UPSTREAM": url}) as bridge:
        answer = await bridge.request(VARIANTS[0].body)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")


async def test_an_upstream_that_does_not_accept_is_504() -> None:
    text = ROUTES.replace("connect: 60s", "connect: 200ms")
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:  # what the system would still take in
        one.setblocking(False)
        one.connect_ex(full.getsockname())
    try:
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        async with run_bridge(text, {"UPSTREAM": url}) as bridge:
            answer = await bridge.request(VARIANTS[0].body)
            assert (answer.status, answer.error()["code"]) == (504, "upstream_timeout")
    finally:
        for one in [full, *waiting]:
            one.close()


async def test_tls_to_a_plain_port_is_502() -> None:
    async def plain(peer: Connection) -> None:
        await peer.send(head(400))

    async with run_upstream(plain) as server:
        url = server.url.replace("http:", "https:")
        async with run_bridge(ROUTES, {"UPSTREAM": url}) as bridge:
            answer = await bridge.request(VARIANTS[0].body)
            assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")


async def test_tls_that_is_never_answered_is_504() -> None:
    text = ROUTES.replace("connect: 60s", "connect: 200ms")
    async with run_upstream(Connection.wait_closed) as server:
        url = server.url.replace("http:", "https:")
        async with run_bridge(text, {"UPSTREAM": url}) as bridge:
            answer = await bridge.request(VARIANTS[0].body)
            assert (answer.status, answer.error()["code"]) == (504, "upstream_timeout")


STATUSES = {
    **{status: status for status in (400, 404, 408, 409, 413, 422, 429, 500, 501, 502, 503, 504, 529)},
    **dict.fromkeys((301, 302, 303, 307, 308, 304, 401, 402, 403, 405, 418, 424, 451), 502),
}


@pytest.mark.parametrize("way", VARIANTS[:4], ids=str)
@pytest.mark.parametrize(("said", "told"), STATUSES.items())
async def test_a_status_stays_or_becomes_502(said: int, told: int, way: Variant) -> None:
    headers = {"location": "/elsewhere", "retry_after": "7"}
    body: Any = {} if said == 304 else {"error": {"message": "no, thank you", "type": "t", "code": "c"}}
    answer_bytes = head(304, **headers) if said == 304 else http_response(body, said, **headers)
    async with (
        run_upstream(responder(answer_bytes)) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        answer = await bridge.request(way.body)
        assert answer.status == told
        error = answer.error()
        assert [request.path for request in server.requests] == ["/answer"], "redirects are not followed"
        if said != 304:
            assert error == {"message": "no, thank you", "type": "t", "param": None, "code": "c"}
        if said in (429, 503):
            assert answer.headers["retry-after"] == "7"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_the_clients_own_key_is_theirs(status: int) -> None:
    refusal = http_response({"error": {"message": "a bad key", "code": "invalid_api_key"}}, status)
    async with (
        run_upstream(responder(refusal)) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        body = {**VARIANTS[0].body, "model": "theirs"}
        answer = await bridge.request(body, headers={"Authorization": "Bearer mine"})
        assert (answer.status, answer.error()["message"]) == (status, "a bad key")
        assert server.requests[0].headers["authorization"] == "Bearer mine"
        other = await bridge.request(VARIANTS[0].body, headers={"Authorization": "Bearer mine"})
        assert other.status == 502
        assert "authorization" not in server.requests[1].headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("code", "status"), [(-4, 404), (-6, 504), (-9, 502)])
async def test_a_code_under_200_is_what_the_rule_says(code: int, status: int, *, stream: bool) -> None:
    failure = {"code": code, "msg": "no such session"}
    way = Variant("strict", stream=stream, upstream=stream)
    async with (
        run_upstream(by_kind(http_response(failure), stream_response(event(failure)))) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        answer = await bridge.request(way.body)
        assert answer.status == status
        error = answer.error()
        assert (error["message"], error["code"]) == ("no such session", str(code))


async def test_a_chunk_size_that_is_none_ends_whenever_it_comes() -> None:
    """Behind the head, and on a connection that is used again: what aiohttp's client waits on for ever."""

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(http_response(completion("good")))
        await peer.request()
        await peer.send(stream_head())
        await peer.send(chunk(frame("hel")) if peer.number % 2 else b"")
        await peer.send(b"zz\r\nlo\r\n")
        await peer.wait_closed()

    for way in VARIANTS[:6]:
        async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
            good = await bridge.request(VARIANTS[0].body)
            assert good.completion().choice.text == "good"
            answer = await bridge.request(way.body)
            assert server.connections == 1
            if way.stream and answer.status == 200:
                assert answer.stream().error is not None
            else:
                assert answer.status in (502, 504)
                answer.error()
