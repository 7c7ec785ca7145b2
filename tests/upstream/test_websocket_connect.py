"""Websockets that are not opened: refused, redirected or unreachable upstreams, and retries."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from pathlib import Path

import pytest

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.loader import load_routes
from bridge.openai.endpoints import CHAT
from bridge.upstream.client import UpstreamClient
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, Handler, head, http_response, responder, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import Variant
from tests.upstream.raw_websocket import (
    WEBSOCKET_ROUTES,
    accept_handshake,
    close_frame,
    text_message,
    websocket_responder,
)

STREAMING_AND_NOT = [Variant("done", stream=stream, upstream=True) for stream in (False, True)]
SHORT_CONNECT = WEBSOCKET_ROUTES.replace("connect: 60s", "connect: 200ms")
CERTIFICATES = Path(__file__).parent / "tls"
REFUSAL = {"error": {"message": "no, thank you", "type": "t", "code": "c"}}

STATUSES = {
    **{status: status for status in (400, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504)},
    **dict.fromkeys((300, 301, 302, 303, 305, 307, 308, 304, 401, 402, 403, 405, 418, 426), 502),
}


@pytest.mark.parametrize("variant", STREAMING_AND_NOT, ids=str)
@pytest.mark.parametrize(("sent", "expected"), STATUSES.items())
async def test_a_refused_handshake_has_the_status_of_http(sent: int, expected: int, variant: Variant) -> None:
    headers = {"location": "/elsewhere", "retry_after": "7"}
    refusal = head(304, **headers) if sent == 304 else http_response(REFUSAL, sent, **headers)
    async with (
        run_upstream(responder(refusal)) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(variant.body)
        assert response.status == expected
        if sent != 304:
            credentials = f"the upstream refused the bridge's credentials ({sent})"
            message = credentials if sent in (401, 403) else "no, thank you"
            assert response.error() == {"message": message, "type": "t", "param": None, "code": "c"}
        assert sent not in (429, 503) or response.headers["retry-after"] == "7"
        assert [request.path for request in server.requests] == ["/chat"], "redirects are not followed"
        assert await bridge.count("bridge_upstream_errors_total", kind="refused") == 1


async def test_credentials_do_not_follow_a_redirect() -> None:
    async with run_upstream(responder(http_response({}))) as other:
        redirect = http_response(b"", 307, location=f"{other.url}/take")
        async with run_upstream(responder(redirect)) as server:
            file = WEBSOCKET_ROUTES.replace("models: done,", "models: done, headers: {x-api-key: secret},")
            async with run_bridge(file, {"UPSTREAM": server.url}) as bridge:
                assert (await bridge.request(STREAMING_AND_NOT[0].body)).status == 502
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
@pytest.mark.parametrize("waits", [False, True])
async def test_the_reason_of_a_refusal_is_read_as_far_as_it_arrives(
    refusal: bytes, message: str, *, waits: bool
) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(refusal)
        if waits:
            await peer.wait_closed()

    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(STREAMING_AND_NOT[0].body)
        assert response.status == (404 if b"-4" in refusal else 400)
        assert message in response.error()["message"]
        if waits:
            await server.wait_until(lambda server: server.closed == 1)


async def test_a_long_refusal_is_truncated() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(head(400, content_length="99999999999"))
        while True:
            await peer.send(b"x" * 100_000)

    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(STREAMING_AND_NOT[0].body)
        assert response.status == 400
        assert len(response.error()["message"]) < 1000


@pytest.mark.parametrize("variant", STREAMING_AND_NOT, ids=str)
async def test_an_unreachable_upstream_is_502(variant: Variant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for url in (f"ws://127.0.0.1:{port}", "ws://nothing.invalid", f"wss://127.0.0.1:{port}"):
        async with run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": url}) as bridge:
            response = await bridge.request(variant.body)
            assert (response.status, response.error()["code"]) == (502, "upstream_connect")
            assert await bridge.count("bridge_upstream_errors_total", kind="connect") == 1


async def send_half_a_handshake(peer: Connection) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 101 Switching\r\nUpgr")
    await peer.wait_closed()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("behave", [Connection.wait_closed, send_half_a_handshake])
async def test_a_hanging_handshake_is_504(behave: Handler, scheme: str) -> None:
    async with run_upstream(behave) as server:
        url = server.url.replace("http", scheme)
        async with run_bridge(SHORT_CONNECT, {"UPSTREAM": url}) as bridge:
            response = await bridge.request(STREAMING_AND_NOT[0].body)
            assert (response.status, response.error()["code"]) == (504, "upstream_timeout")
            assert "no WebSocket within 0.2 s" in response.error()["message"]
        if scheme == "ws":
            await server.wait_until(lambda server: server.closed == 1)


async def test_tls_to_a_plain_port_is_502() -> None:
    async def plain(peer: Connection) -> None:
        await peer.send(head(400))

    async with run_upstream(plain) as server:
        url = server.url.replace("http:", "wss:")
        async with run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": url}) as bridge:
            response = await bridge.request(STREAMING_AND_NOT[0].body)
            assert (response.status, response.error()["code"]) == (502, "upstream_connect")


TLS_RULES = {
    "{ca: server.pem}": None,
    "{verify: false}": None,
    "{}": 502,
    "{ca: server.pem, server_name: o.test}": 502,
}


@pytest.mark.parametrize(("tls", "status"), TLS_RULES.items())
async def test_trusted_and_refused_certificates(tls: str, status: int | None, tmp_path: Path) -> None:
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
        upstream = UpstreamClient()
        try:
            async with asyncio.timeout(30):
                if status is None:
                    body = (await upstream.fetch(call.request(), route.transport, 100))[2]
                    assert b'"hello"' in body
                else:
                    with pytest.raises(UpstreamError) as raised:
                        await upstream.fetch(call.request(), route.transport, 100)
                    assert (raised.value.kind, raised.value.status) == (UpstreamFailure.CONNECT, status)
        finally:
            await upstream.close()


def retrying(on: str) -> str:
    retry = f"retry: {{attempts: 2, backoff: 0.01, on: [{on}]}}"
    return WEBSOCKET_ROUTES.replace("url: ${UPSTREAM}/chat", f"url: ${{UPSTREAM}}/chat\n    {retry}", 1)


async def resets(peer: Connection) -> None:
    peer.abort()


FAILURES: dict[str, tuple[Handler, str]] = {
    "resets": (resets, "disconnect"),
    "closes after its handshake": (websocket_responder(), "disconnect"),
    "goes away": (websocket_responder(close_frame(1012)), "disconnect"),
    "is busy": (responder(http_response({}, 503)), "'503'"),
    "is too slow": (websocket_responder(waits=True), "timeout"),
}


@pytest.mark.parametrize("variant", STREAMING_AND_NOT, ids=str)
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failure_before_the_first_message_is_retried(failure: str, variant: Variant) -> None:
    fail, kind = FAILURES[failure]

    async def behave(peer: Connection) -> None:
        success = websocket_responder(text_message("hello"), b'\x81\x0c{"end":true}', close_frame(1000))
        await (fail if peer.number < 3 else success)(peer)

    async with run_upstream(behave) as server:
        async with run_bridge(retrying(kind), {"UPSTREAM": server.url}) as bridge:
            response = await bridge.request(variant.body)
            sent = response.stream().choice if variant.stream else response.completion().choice
            assert sent.text == "hello"
            assert server.connections == 3
        other = "connect" if kind != "connect" else "timeout"
        async with run_bridge(retrying(other), {"UPSTREAM": server.url}) as bridge:
            server.connections = 0
            assert (await bridge.request(variant.body)).status >= 500
            assert server.connections == 1, "this failure is not in `retry.on`"


async def test_a_failure_after_the_first_message_is_not_retried() -> None:
    async with (
        run_upstream(websocket_responder(text_message("hel"))) as server,
        run_bridge(retrying("disconnect"), {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(STREAMING_AND_NOT[1].body)
        assert response.stream().error is not None
        assert server.connections == 1


async def test_a_replica_without_connection_is_skipped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    text_of = WEBSOCKET_ROUTES.replace(
        "url: ${UPSTREAM}/chat", f"url: ws://127.0.0.1:{port}/chat\n    replicas: ['${{UPSTREAM}}/chat']"
    )
    async with run_upstream(websocket_responder(text_message("hello"), close_frame(1000))) as server:
        async with run_bridge(text_of, {"UPSTREAM": server.url.replace("http", "ws")}) as bridge:
            for _ in range(3):
                response = await bridge.request({**HELLO, "model": "open"})
                assert response.completion().choice.text == "hello"
        assert server.connections == 3


async def test_a_replica_whose_handshake_hangs_is_skipped() -> None:
    """The handshake carries no request, so that nothing is sent twice."""

    async def hang(peer: Connection) -> None:
        await peer.wait_closed()

    async with (
        run_upstream(hang) as silent,
        run_upstream(websocket_responder(text_message("hello"), close_frame(1000))) as server,
    ):
        text_of = WEBSOCKET_ROUTES.replace("connect: 60s", "connect: 200ms", 1).replace(
            "url: ${UPSTREAM}/chat",
            f"url: {silent.url.replace('http', 'ws')}/chat\n    replicas: ['${{UPSTREAM}}/chat']",
        )
        async with run_bridge(text_of, {"UPSTREAM": server.url.replace("http", "ws")}) as bridge:
            for _ in range(4):
                response = await bridge.request({**HELLO, "model": "open"})
                assert response.completion().choice.text == "hello"
        assert (silent.connections, server.connections) == (2, 4)


async def test_a_refused_connection_is_closed() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(http_response({}, 429))
        await peer.wait_closed()

    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        for number in (1, 2, 3):
            assert (await bridge.request(STREAMING_AND_NOT[0].body)).status == 429
            await server.wait_until(lambda server, number=number: server.closed == number)  # type: ignore[misc]


async def test_an_upstream_that_does_not_read_times_out() -> None:
    """The request exceeds the buffers of the system."""

    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await asyncio.Event().wait()

    text_of = WEBSOCKET_ROUTES.replace("limits: {frame: 64KiB", "limits: {body: 64MiB, frame: 64KiB")
    async with run_upstream(behave) as server, run_bridge(text_of, {"UPSTREAM": server.url}) as bridge:
        for variant in STREAMING_AND_NOT:
            body = {**variant.body, "messages": [{"role": "user", "content": "x" * 20_000_000}]}
            response = await bridge.request(body)
            assert (response.status, response.error()["code"]) == (504, "upstream_timeout")
