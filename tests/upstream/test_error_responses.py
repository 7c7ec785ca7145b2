"""Upstreams that fail before any output: the client gets an error status, streaming or not."""

from __future__ import annotations

import gzip
import json
import socket
from typing import Any

import pytest

from tests.raw_upstream import (
    Connection,
    Handler,
    chunk,
    head,
    http_response,
    responder,
    run_upstream,
)
from tests.running_bridge import run_bridge
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

HTML = b"<html><head><title>Welcome to nginx!</title></head><body><h1>It works</h1></body></html>"


def sends(*pieces: bytes, waits: bool = False) -> Handler:
    """Return a handler that sends these bytes after one request, then closes or waits."""

    async def behave(peer: Connection) -> None:
        if await peer.request() is None:
            return
        for piece in pieces:
            await peer.send(piece)
        if waits:
            await peer.wait_closed()

    return behave


def sends_by_kind(non_streaming: bytes, streaming: bytes) -> Handler:
    """Return a handler that sends one of two responses, streaming on request, and closes."""

    async def behave(peer: Connection) -> None:
        if (request := await peer.request()) is not None:
            await peer.send(streaming if is_stream(request) else non_streaming)

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

FAULTS: dict[str, tuple[Handler, int, str]] = {
    "sends nothing": (sends(waits=True), 504, "upstream_timeout"),
    "sends half a head, then nothing": (
        sends(b"HTTP/1.1 200 OK\r\nConte", waits=True),
        504,
        "upstream_timeout",
    ),
    "sends its head, then nothing": (sends(CHUNKED, waits=True), 504, "upstream_timeout"),
    "promises a length, then nothing": (sends(head(content_length="9"), waits=True), 504, "upstream_timeout"),
    "closes at once": (closes_at_once, 502, "upstream_disconnect"),
    "closes before its head": (sends(), 502, "upstream_disconnect"),
    "closes within its head": (sends(b"HTTP/1.1 200 OK\r\nConte"), 502, "upstream_disconnect"),
    "resets": (resets, 502, "upstream_disconnect"),
    "is short of its length": (sends(head(content_length="999") + HALF), 502, "upstream_disconnect"),
    "cuts a chunk": (sends(CHUNKED + b"400\r\n" + HALF), 502, "upstream_disconnect"),
    "leaves out the last chunk": (sends(CHUNKED + chunk(HALF)), 502, "upstream_disconnect"),
    "sends SSH": (sends(b"SSH-2.0-OpenSSH_9.6\r\n"), 502, "upstream_garbled"),
    "sends noise": (sends(bytes(range(256)) * 4), 502, "upstream_garbled"),
    "sends TLS": (sends(b"\x15\x03\x01\x00\x02\x02\x50"), 502, "upstream_"),
    "has two lengths": (
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        502,
        "up",
    ),
    "has an endless head": (sends(head(x_filler="x" * 70_000)), 502, "upstream_garbled"),
    "is HTML under 200": (sends(page(200)), 502, "upstream_"),
    "is HTML under 502": (sends(page(502)), 502, "upstream_refused"),
    "is HTML under 404": (sends(page(404)), 404, ""),
    "is empty": (sends(http_response(b"")), 502, "upstream_"),
    "is empty in chunks": (sends(CHUNKED + chunk(b"")), 502, "upstream_"),
    "is blank": (sends(http_response(b" \n\n ")), 502, "upstream_"),
    "is 204": (sends(head(204)), 502, "upstream_"),
    "is only NULs": (sends(http_response(b"\0" * 50)), 502, "upstream_"),
    "is not UTF-8": (sends(http_response(b"\xff\xfe\x80" * 50)), 502, "upstream_"),
    "has no text": (
        sends_by_kind(http_response({"said": "hello"}), stream_response(event({"said": "hello"}), DONE)),
        502,
        "upstream_empty",
    ),
    "only sends [DONE]": (sends_by_kind(http_response({}), stream_response(DONE)), 502, "upstream_empty"),
    "only sends comments": (
        sends_by_kind(http_response({}), stream_response(b": ping\n\n", b": ping\n\n")),
        502,
        "upstream_empty",
    ),
    "is a list": (sends(http_response(b"[1, 2]")), 502, "upstream_"),
    "is over limits.answer": (
        sends_by_kind(
            http_response(completion("x" * 300_000)),
            stream_response(*([b": " + b"x" * 30_000 + b"\n\n"] * 10)),
        ),
        502,
        "upstream_limit",
    ),
    "is invalid gzip": (sends(http_response(b"plain text", content_encoding="gzip")), 502, "upstream_"),
    "is truncated gzip": (
        sends(http_response(gzip.compress(HALF)[:-12], content_encoding="gzip")),
        502,
        "upstream_",
    ),
    "is of an unknown encoding": (
        sends(http_response(b"plain text", content_encoding="x-none")),
        502,
        "upstream_",
    ),
    "fails under 200, as OpenAI": (
        sends_by_kind(
            http_response({"error": {"message": "out of memory", "type": "server_error"}}),
            stream_response(event({"error": {"message": "out of memory", "type": "server_error"}})),
        ),
        502,
        "upstream_refused",
    ),
    "has an invalid chunk size": (sends(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"), 502, "upstream_"),
}


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_an_error_with_its_status(fault: str, variant: Variant) -> None:
    behave, status, code = FAULTS[fault]
    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(variant.body)
        error = response.error()
        assert response.status == status, error
        assert (error["code"] or "").startswith(code), error
        assert server.requests or fault == "closes at once"
        await bridge.wait_for_count(1, "bridge_upstream_errors_total", route=variant.model)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
async def test_a_refused_connection_is_502(variant: Variant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with run_bridge(ROUTES, {"UPSTREAM": f"http://127.0.0.1:{port}"}) as bridge:
        response = await bridge.request(variant.body)
        assert (response.status, response.error()["code"]) == (502, "upstream_connect")
        assert await bridge.count("bridge_upstream_errors_total", route=variant.model, kind="connect") == 1


@pytest.mark.parametrize(
    "url", ["http://nothing.invalid", "http://nothing.invalid:99", "https://127.0.0.1:1"]
)
async def test_an_unreachable_host_is_502(url: str) -> None:
    async with run_bridge(ROUTES, {"UPSTREAM": url}) as bridge:
        response = await bridge.request(VARIANTS[0].body)
        assert (response.status, response.error()["code"]) == (502, "upstream_connect")


async def test_a_connection_that_is_not_accepted_is_504() -> None:
    text = ROUTES.replace("connect: 60s", "connect: 200ms")
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for each in fillers:  # fill the backlog of the system
        each.setblocking(False)
        each.connect_ex(full.getsockname())
    try:
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        async with run_bridge(text, {"UPSTREAM": url}) as bridge:
            response = await bridge.request(VARIANTS[0].body)
            assert (response.status, response.error()["code"]) == (504, "upstream_timeout")
    finally:
        for each in [full, *fillers]:
            each.close()


async def test_tls_to_a_plain_port_is_502() -> None:
    async def plain(peer: Connection) -> None:
        await peer.send(head(400))

    async with run_upstream(plain) as server:
        url = server.url.replace("http:", "https:")
        async with run_bridge(ROUTES, {"UPSTREAM": url}) as bridge:
            response = await bridge.request(VARIANTS[0].body)
            assert (response.status, response.error()["code"]) == (502, "upstream_connect")


async def test_a_tls_handshake_without_response_is_504() -> None:
    text = ROUTES.replace("connect: 60s", "connect: 200ms")
    async with run_upstream(Connection.wait_closed) as server:
        url = server.url.replace("http:", "https:")
        async with run_bridge(text, {"UPSTREAM": url}) as bridge:
            response = await bridge.request(VARIANTS[0].body)
            assert (response.status, response.error()["code"]) == (504, "upstream_timeout")


STATUSES = {
    **{status: status for status in (400, 404, 408, 409, 413, 422, 429, 500, 501, 502, 503, 504, 529)},
    **dict.fromkeys((301, 302, 303, 307, 308, 304, 401, 402, 403, 405, 418, 424, 451), 502),
}


@pytest.mark.parametrize("variant", VARIANTS[:4], ids=str)
@pytest.mark.parametrize(("sent", "expected"), STATUSES.items())
async def test_an_error_status_is_kept_or_becomes_502(sent: int, expected: int, variant: Variant) -> None:
    headers = {"location": "/elsewhere", "retry_after": "7"}
    body: Any = {} if sent == 304 else {"error": {"message": "no, thank you", "type": "t", "code": "c"}}
    upstream_response = head(304, **headers) if sent == 304 else http_response(body, sent, **headers)
    async with (
        run_upstream(responder(upstream_response)) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(variant.body)
        assert response.status == expected
        error = response.error()
        assert [request.path for request in server.requests] == ["/answer"], "redirects are not followed"
        if sent in (401, 403):
            assert error["message"] == f"the upstream refused the bridge's credentials ({sent})"
        elif sent != 304:
            assert error == {"message": "no, thank you", "type": "t", "param": None, "code": "c"}
        if sent in (429, 503):
            assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize("status", [401, 403])
async def test_401_and_403_are_kept_for_the_clients_own_key(status: int) -> None:
    refusal = http_response({"error": {"message": "a bad key", "code": "invalid_api_key"}}, status)
    async with (
        run_upstream(responder(refusal)) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        body = {**VARIANTS[0].body, "model": "theirs"}
        response = await bridge.request(body, headers={"Authorization": "Bearer mine"})
        assert (response.status, response.error()["message"]) == (status, "a bad key")
        assert server.requests[0].headers["authorization"] == "Bearer mine"
        other = await bridge.request(VARIANTS[0].body, headers={"Authorization": "Bearer mine"})
        assert other.status == 502
        assert "authorization" not in server.requests[1].headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("code", "status"), [(-4, 404), (-6, 504), (-9, 502)])
async def test_an_error_rule_applies_to_status_200(code: int, status: int, *, stream: bool) -> None:
    failure = {"code": code, "msg": "no such session"}
    variant = Variant("strict", stream=stream, upstream=stream)
    async with (
        run_upstream(sends_by_kind(http_response(failure), stream_response(event(failure)))) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(variant.body)
        assert response.status == status
        error = response.error()
        assert (error["message"], error["code"]) == ("no such session", str(code))


async def test_an_invalid_chunk_size_ends_the_response_at_any_time() -> None:
    """After the head, and on a reused connection, aiohttp's client waits for ever."""

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(http_response(completion("good")))
        await peer.request()
        await peer.send(stream_head())
        await peer.send(chunk(frame("hel")) if peer.number % 2 else b"")
        await peer.send(b"zz\r\nlo\r\n")
        await peer.wait_closed()

    for variant in VARIANTS[:6]:
        async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
            first = await bridge.request(VARIANTS[0].body)
            assert first.completion().choice.text == "good"
            response = await bridge.request(variant.body)
            assert server.connections == 1
            if variant.stream and response.status == 200:
                assert response.stream().error is not None
            else:
                assert response.status in (502, 504)
                response.error()
