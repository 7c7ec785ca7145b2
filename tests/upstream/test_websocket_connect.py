"""Websockets that are not opened: refused, redirected, unreachable, tried again."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.loader import load_routes
from bridge.openai.endpoints import CHAT
from bridge.upstream.client import UpstreamClient
from tests.raw_client import HELLO, run_bridge
from tests.raw_upstream import Connection, head, http_response, responder, run_upstream
from tests.upstream.formats import Variant
from tests.upstream.raw_websocket import (
    WEBSOCKET_ROUTES,
    accept_handshake,
    close_frame,
    text_message,
    websocket_responder,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Behave = Callable[[Connection], Awaitable[None]]

WAYS = [Variant("done", stream=stream, upstream=True) for stream in (False, True)]
HURRIED = WEBSOCKET_ROUTES.replace("connect: 60s", "connect: 200ms")
CERTIFICATES = Path(__file__).parent / "tls"
REFUSAL = {"error": {"message": "no, thank you", "type": "t", "code": "c"}}

STATUSES = {
    **{status: status for status in (400, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504)},
    **dict.fromkeys((300, 301, 302, 303, 305, 307, 308, 304, 401, 402, 403, 405, 418, 426), 502),
}


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(("said", "told"), STATUSES.items())
async def test_a_refusal_is_what_it_would_be_over_http(said: int, told: int, way: Variant) -> None:
    headers = {"location": "/elsewhere", "retry_after": "7"}
    refusal = head(304, **headers) if said == 304 else http_response(REFUSAL, said, **headers)
    async with (
        run_upstream(responder(refusal)) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        answer = await bridge.request(way.body)
        assert answer.status == told
        if said != 304:
            assert answer.error() == {"message": "no, thank you", "type": "t", "param": None, "code": "c"}
        assert said not in (429, 503) or answer.headers["retry-after"] == "7"
        assert [request.path for request in server.requests] == ["/chat"], "redirects are not followed"
        assert await bridge.count("bridge_upstream_errors_total", kind="refused") == 1


async def test_keys_are_not_carried_elsewhere() -> None:
    async with run_upstream(responder(http_response({}))) as other:
        moved = http_response(b"", 307, location=f"{other.url}/take")
        async with run_upstream(responder(moved)) as server:
            file = WEBSOCKET_ROUTES.replace("models: done,", "models: done, headers: {x-api-key: secret},")
            async with run_bridge(file, {"UPSTREAM": server.url}) as bridge:
                assert (await bridge.request(WAYS[0].body)).status == 502
            assert server.requests[0].headers["x-api-key"] == "secret"
        assert other.connections == 0


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (http_response({"code": -4, "msg": "by the rule"}, 400), "by the rule"),
        (http_response(b"<html><title>Bad key</title></html>", 400, content_type="text/html"), "Bad key"),
        (head(400, content_length="99") + b'{"error": "cut', "400"),
        (head(400, transfer_encoding="chunked") + b'5\r\n{"err\r\n', "400"),
        (head(400) + b"what has no length is not read", "400"),
    ],
)
@pytest.mark.parametrize("stays", [False, True])
async def test_why_is_told_as_far_as_it_comes(refusal: bytes, message: str, *, stays: bool) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(refusal)
        if stays:
            await peer.wait_closed()

    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        answer = await bridge.request(WAYS[0].body)
        assert answer.status == (404 if b"-4" in refusal else 400)
        assert message in answer.error()["message"]
        if stays:
            await server.wait_until(lambda server: server.closed == 1)


async def test_a_refusal_may_be_long() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(head(400, content_length="99999999999"))
        while True:
            await peer.send(b"x" * 100_000)

    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        answer = await bridge.request(WAYS[0].body)
        assert answer.status == 400
        assert len(answer.error()["message"]) < 1000


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_nothing_listens(way: Variant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for url in (f"ws://127.0.0.1:{port}", "ws://nothing.invalid", f"wss://127.0.0.1:{port}"):
        async with run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": url}) as bridge:
            answer = await bridge.request(way.body)
            assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")
            assert await bridge.count("bridge_upstream_errors_total", kind="connect") == 1


async def half(peer: Connection) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 101 Switching\r\nUpgr")
    await peer.wait_closed()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("behave", [Connection.wait_closed, half])
async def test_a_handshake_that_hangs_is_504(behave: Behave, scheme: str) -> None:
    async with run_upstream(behave) as server:
        url = server.url.replace("http", scheme)
        async with run_bridge(HURRIED, {"UPSTREAM": url}) as bridge:
            answer = await bridge.request(WAYS[0].body)
            assert (answer.status, answer.error()["code"]) == (504, "upstream_timeout")
            assert "no websocket in 0.2 s" in answer.error()["message"]
        if scheme == "ws":
            await server.wait_until(lambda server: server.closed == 1)


async def test_tls_to_a_plain_port_is_502() -> None:
    async def plain(peer: Connection) -> None:
        await peer.send(head(400))

    async with run_upstream(plain) as server:
        url = server.url.replace("http:", "wss:")
        async with run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": url}) as bridge:
            answer = await bridge.request(WAYS[0].body)
            assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")


TRUST = {
    "{ca: server.pem}": None,
    "{verify: false}": None,
    "{}": 502,
    "{ca: server.pem, server_name: o.test}": 502,
}


@pytest.mark.parametrize(("tls", "status"), TRUST.items())
async def test_whom_to_trust(tls: str, status: int | None, tmp_path: Path) -> None:
    for file in CERTIFICATES.iterdir():
        shutil.copy(file, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    async with run_upstream(
        websocket_responder(text_message("hello"), close_frame(1000)), tls=context
    ) as server:
        url = server.url.replace("http:", "wss:")
        file = tmp_path / "routes.yaml"
        stream = "response: false, stream: {framing: websocket, text: $.text}"
        file.write_text(f"routes: [{{models: m, upstream: {{url: '{url}', tls: {tls}}}, {stream}}}]")
        route = load_routes(str(file)).routes[0]
        (call,) = Exchange(RequestContext(route, CHAT, HELLO, b"{}", id="1", now=0.0)).calls
        bytes_of = UpstreamClient()
        try:
            async with asyncio.timeout(30):
                if status is None:
                    body = (await bytes_of.fetch(call.request(), route.transport, 100))[2]
                    assert b'"hello"' in body
                else:
                    with pytest.raises(UpstreamError) as raised:
                        await bytes_of.fetch(call.request(), route.transport, 100)
                    assert (raised.value.kind, raised.value.status) == (UpstreamFailure.CONNECT, status)
        finally:
            await bytes_of.close()


def retrying(on: str) -> str:
    retry = f"retry: {{attempts: 2, backoff: 0.01, on: [{on}]}}"
    return WEBSOCKET_ROUTES.replace("url: ${UPSTREAM}/chat", f"url: ${{UPSTREAM}}/chat\n    {retry}", 1)


async def resets(peer: Connection) -> None:
    peer.abort()


FIRST: dict[str, tuple[Behave, str]] = {
    "resets": (resets, "disconnect"),
    "closes behind its handshake": (websocket_responder(), "disconnect"),
    "goes away": (websocket_responder(close_frame(1012)), "disconnect"),
    "is busy": (responder(http_response({}, 503)), "'503'"),
    "is too slow": (websocket_responder(stays=True), "timeout"),
}


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("first", FIRST)
async def test_what_failed_before_the_first_message_is_tried_again(first: str, way: Variant) -> None:
    fails, kind = FIRST[first]

    async def behave(peer: Connection) -> None:
        good = websocket_responder(text_message("hello"), b'\x81\x0c{"end":true}', close_frame(1000))
        await (fails if peer.number < 3 else good)(peer)

    async with run_upstream(behave) as server:
        async with run_bridge(retrying(kind), {"UPSTREAM": server.url}) as bridge:
            answer = await bridge.request(way.body)
            said = answer.stream().choice if way.stream else answer.completion().choice
            assert said.text == "hello"
            assert server.connections == 3
        other = "connect" if kind != "connect" else "timeout"
        async with run_bridge(retrying(other), {"UPSTREAM": server.url}) as bridge:
            server.connections = 0
            assert (await bridge.request(way.body)).status >= 500
            assert server.connections == 1, "it is not worth it"


async def test_what_has_begun_is_not_tried_again() -> None:
    async with (
        run_upstream(websocket_responder(text_message("hel"))) as server,
        run_bridge(retrying("disconnect"), {"UPSTREAM": server.url}) as bridge,
    ):
        answer = await bridge.request(WAYS[1].body)
        assert answer.stream().error is not None
        assert server.connections == 1


async def test_a_port_that_refuses_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    both = WEBSOCKET_ROUTES.replace(
        "url: ${UPSTREAM}/chat", f"url: ws://127.0.0.1:{port}/chat\n    replicas: ['${{UPSTREAM}}/chat']"
    )
    async with run_upstream(websocket_responder(text_message("hello"), close_frame(1000))) as server:
        async with run_bridge(both, {"UPSTREAM": server.url.replace("http", "ws")}) as bridge:
            for _ in range(3):
                answer = await bridge.request({**HELLO, "model": "open"})
                assert answer.completion().choice.text == "hello"
        assert server.connections == 3


async def test_a_connection_is_not_left_open_by_a_refusal() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(http_response({}, 429))
        await peer.wait_closed()

    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        for number in (1, 2, 3):
            assert (await bridge.request(WAYS[0].body)).status == 429
            await server.wait_until(lambda server, number=number: server.closed == number)  # type: ignore[misc]


async def test_a_server_that_shakes_hands_and_does_not_read() -> None:
    """What is asked is larger than what the system takes in for it."""

    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await asyncio.Event().wait()

    text_of = WEBSOCKET_ROUTES.replace("limits: {frame: 64KiB", "limits: {body: 64MiB, frame: 64KiB")
    async with run_upstream(behave) as server, run_bridge(text_of, {"UPSTREAM": server.url}) as bridge:
        for way in WAYS:
            body = {**way.body, "messages": [{"role": "user", "content": "x" * 20_000_000}]}
            answer = await bridge.request(body)
            assert (answer.status, answer.error()["code"]) == (504, "upstream_timeout")
