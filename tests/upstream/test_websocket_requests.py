"""Requests over websockets: URLs, credentials, messages, framings, sessions and callouts."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import Variant
from tests.upstream.raw_websocket import (
    WEBSOCKET_ROUTES,
    accept_handshake,
    close_frame,
    read_frame,
    text_message,
    websocket_app,
    websocket_frame,
    websocket_responder,
)

if TYPE_CHECKING:
    from tests.conftest import ServeApp

CREDENTIAL_ROUTES = """
routes:
  - models: "spark-*"
    upstream: "${UPSTREAM}/{{ model }}/chat?v=1"
    auth: {query: key, value: "a b&c"}
    query: {user: "{{ user }}"}
    headers: {X-Model: "{{ model }}", X-App: 7}
    request: {body: {say: $.last}}
    response: false
    stream: {framing: websocket, text: $.text}
  - models: bearer
    upstream: ${UPSTREAM}
    path: /v1
    auth: {bearer: hidden}
    response: false
    stream: {framing: websocket, text: $.text, headers: {X-Stream: "1"}}
  - {models: theirs, upstream: "${UPSTREAM}", auth: client, response: false,
     stream: {framing: websocket, text: $.text}}
"""


async def test_url_headers_and_credentials_are_sent_in_the_handshake() -> None:
    async with (
        run_upstream(websocket_responder(text_message("hello"), close_frame(1000))) as server,
        run_bridge(CREDENTIAL_ROUTES, {"UPSTREAM": server.url.replace("http", "ws")}) as bridge,
    ):
        for model in ("spark-ü/?&3", "bearer", "theirs"):
            body = {**HELLO, "model": model, "user": "you & me"}
            respond = await bridge.request(body, headers={"Authorization": "Bearer mine"})
            assert respond.completion().choice.text == "hello"
        by_query, by_header, by_client = server.requests
        url_parts = urlsplit(by_query.path)
        assert url_parts.path == "/spark-%C3%BC%2F%3F%263/chat"
        assert parse_qs(url_parts.query) == {"v": ["1"], "key": ["a b&c"], "user": ["you & me"]}
        assert by_query.headers["x-app"] == "7"
        assert "authorization" not in by_query.headers
        assert (by_header.path, by_header.headers["authorization"]) == ("/v1", "Bearer hidden")
        assert by_header.headers["x-stream"] == "1"
        assert by_client.headers["authorization"] == "Bearer mine"
        for request in server.requests:
            assert request.method == "GET"
            assert request.headers["user-agent"] == "bridge"
            assert "sec-websocket-extensions" not in request.headers


OAUTH = """
routes:
  - models: m
    upstream: ${UPSTREAM}/chat
    auth: {oauth2: {token_url: "${UPSTREAM}/token", client_id: id, client_secret: secret}}
    response: false
    stream: {framing: websocket, text: $.text}
"""


async def test_a_refused_token_is_replaced_once(serve_app: ServeApp) -> None:
    tokens = iter(("old", "new"))

    async def token(request: web.Request) -> web.Response:
        return web.json_response({"access_token": next(tokens), "token_type": "bearer"})

    async def respond(websocket: web.WebSocketResponse, request: Any) -> None:
        await websocket.send_json({"text": "hello"})

    def accepts(request: web.Request) -> bool:
        return request.headers["authorization"] == "Bearer new"

    app, received = websocket_app(respond, web.post("/token", token), allowed=accepts)
    url = await serve_app(app)
    async with run_bridge(OAUTH, {"UPSTREAM": url}) as bridge:
        assert (await bridge.request(HELLO)).completion().choice.text == "hello"
    assert [request.headers["authorization"] for request in received] == ["Bearer old", "Bearer new"]


async def test_the_request_is_a_single_text_message() -> None:
    frames: list[tuple[int, bytes]] = []

    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        frames.append(await read_frame(peer))
        await peer.send(text_message("hello") + close_frame(1000))

    long = "☃" * 100_000
    file = WEBSOCKET_ROUTES.replace("limits: {", "limits: {body: 1MiB, ")
    async with run_upstream(behave) as server, run_bridge(file, {"UPSTREAM": server.url}) as bridge:
        for text in ("hi", long):
            body = {"model": "open", "messages": [{"role": "user", "content": text}], "stop": ["x"]}
            await bridge.request(body)
    assert [(opcode, json.loads(data)) for opcode, data in frames] == [
        (1, {"say": "hi", "stop": ["x"]}),
        (1, {"say": long, "stop": ["x"]}),
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_n_choices_are_n_websockets(serve_app: ServeApp, *, stream: bool) -> None:
    async def respond(websocket: web.WebSocketResponse, request: Any) -> None:
        for word in ("hel", "lo"):
            await websocket.send_json({"text": word})
        await websocket.send_json({"end": True})

    app, received = websocket_app(respond)
    url = await serve_app(app)
    async with (
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": url}) as bridge,
    ):
        response = await bridge.request({**Variant("done", stream=stream, upstream=True).body, "n": 2})
        text = response.stream() if stream else response.completion()
        assert [text.choices[index].text for index in (0, 1)] == ["hello", "hello"]
        assert len(received) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_websocket_closes_the_others(*, stream: bool) -> None:
    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        if peer.number == 1:
            await peer.send(text_message("hello "))
            await peer.wait_closed()
        await peer.send(close_frame(1011, "no more"))

    file = WEBSOCKET_ROUTES.replace("first_byte: 300ms, idle: 300ms", "first_byte: 1h, idle: 1h")
    async with run_upstream(behave) as server, run_bridge(file, {"UPSTREAM": server.url}) as bridge:
        respond = await bridge.request({**Variant("done", stream=stream, upstream=True).body, "n": 2})
        error = respond.stream().error if stream and respond.status == 200 else respond.error()
        assert error is not None
        assert "1011: no more" in error["message"]
        await server.wait_until(lambda server: server.closed == 1)


async def test_text_messages_keep_white_space(serve_app: ServeApp) -> None:
    words = ["hello", "\n", " ", "", "you☃", "\n\n", '{"a":1}', "[DONE"]

    async def respond(websocket: web.WebSocketResponse, request: Any) -> None:
        for word in words:
            await websocket.send_str(word)

    app, _ = websocket_app(respond)
    url = await serve_app(app)
    async with (
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": url}) as bridge,
    ):
        for stream in (False, True):
            response = await bridge.request(Variant("raw", stream=stream, upstream=True).body)
            text = response.stream().choice if stream else response.completion().choice
            assert text.text == "".join(words)


async def test_lines_may_span_messages(serve_app: ServeApp) -> None:
    pieces = [b'{"text":"hel"}\n{"te', b'xt":"lo', b' "}\n\n', '{"text":"☃"}'.encode()[:10], b'\x98\x83"}']

    async def respond(websocket: web.WebSocketResponse, request: Any) -> None:
        for piece in pieces:
            await websocket.send_bytes(piece)

    app, _ = websocket_app(respond)
    url = await serve_app(app)
    async with (
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": url}) as bridge,
    ):
        response = await bridge.request({**HELLO, "model": "lines"})
        assert response.completion().choice.text == "hello ☃"


async def test_an_unfinished_line_is_a_truncation() -> None:
    async with (
        run_upstream(
            websocket_responder(websocket_frame(b'{"text":"hel"}\n{"text":"l'), close_frame(1000))
        ) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        assert (await bridge.request({**HELLO, "model": "lines"})).status == 502


async def test_base64_messages_are_decoded() -> None:
    wrapped = json.dumps({"bytes": b64encode(b'{"text":"hello"}').decode(), "p": "abc"}).encode()
    file = WEBSOCKET_ROUTES.replace("inner: ndjson", "inner: base64")
    async with (
        run_upstream(websocket_responder(websocket_frame(wrapped), close_frame(1000))) as server,
        run_bridge(file, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request({**HELLO, "model": "lines"})
        assert response.completion().choice.text == "hello"


SESSION = """
routes:
  - models: m
    upstream: ${UPSTREAM}
    session:
      open: {path: /open, body: {}, id: $.session}
      close: {path: /close, body: {session: $.session}}
    request: {body: {say: $.last, session: $.session}}
    response: false
    stream: {url: "${SOCKET}/say/{{ session }}", framing: websocket, text: $.text, done: {$.end: true}}
"""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_session_is_opened_and_closed_around_a_websocket(
    serve_app: ServeApp, *, fails: bool, stream: bool
) -> None:
    received: list[tuple[str, Any]] = []

    async def respond_to_post(request: web.Request) -> web.Response:
        received.append((request.path, await request.json()))
        return web.json_response({"session": "s1"})

    async def respond(websocket: web.WebSocketResponse, request: Any) -> None:
        received.append(("said", request))
        await websocket.send_json({"text": "hello"})
        if not fails:
            await websocket.send_json({"end": True})

    posts = web.post("/open", respond_to_post), web.post("/close", respond_to_post)
    app, sockets = websocket_app(respond, *posts)
    url = await serve_app(app)
    variables = {"UPSTREAM": url, "SOCKET": url.replace("http", "ws")}
    async with run_bridge(SESSION, variables) as bridge:
        response = await bridge.request({**HELLO, "stream": stream})
        if not fails:
            text = response.stream().choice if stream else response.completion().choice
            assert text.text == "hello"
        elif stream:
            assert response.stream().error is not None
        else:
            assert response.status == 502
    assert [request.path for request in sockets] == ["/say/s1"]
    assert received == [
        ("/open", {}),
        ("said", {"say": "hello", "session": "s1"}),
        ("/close", {"session": "s1"}),
    ]


async def test_non_streaming_over_http_and_streaming_over_a_websocket(serve_app: ServeApp) -> None:
    """The URLs of both may differ."""
    file = """
routes:
  - models: m
    upstream: ${UPSTREAM}/generate
    request: {body: {prompt: $.prompt}}
    response: $.results[0].text
    stream: {url: "${SOCKET}/stream", framing: websocket, text: $.text, done: {$.event: stream_end}}
"""

    async def generate(request: web.Request) -> web.Response:
        return web.json_response({"results": [{"text": "whole"}]})

    async def respond(websocket: web.WebSocketResponse, request: Any) -> None:
        await websocket.send_json({"event": "text_stream", "text": "streamed"})
        await websocket.send_json({"event": "stream_end"})
        await websocket.receive()  # wait for the close frame

    app, _ = websocket_app(respond, web.post("/generate", generate))
    url = await serve_app(app)
    variables = {"UPSTREAM": url, "SOCKET": url.replace("http", "ws")}
    async with run_bridge(file, variables) as bridge:
        assert (await bridge.request(HELLO)).completion().choice.text == "whole"
        assert (await bridge.request({**HELLO, "stream": True})).stream().choice.text == "streamed"
