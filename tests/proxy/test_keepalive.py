"""Comments in a client's stream while the upstream is silent (`stream.keepalive`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.errors import ConfigError
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, http_response, run_upstream
from tests.running_bridge import RunningBridge, load_table, run_bridge
from tests.strict_client import CompletionStream, read_stream
from tests.telemetry.captured_log import captured_log
from tests.upstream.formats import DONE, completion, frame, is_stream, stream_head, stream_response
from tests.upstream.raw_websocket import accept_handshake, close_frame, read_frame, text_message

if TYPE_CHECKING:
    from tests.raw_client import Client

ON_BOTH_LOOPS = True

COMMENT = b": keep-alive\n\n"
ROUTES = """
x-common: &common
  upstream: "${UPSTREAM}/answer"
routes:
  - {<<: *common, name: openai, models: openai, stream: {keepalive: 20ms}}
  - {<<: *common, name: own, models: own, response: $.text, stream: {text: $.delta, keepalive: 20ms}}
  - {<<: *common, name: streams, models: streams, response: false, stream: {text: $.delta, keepalive: 20ms}}
  - {<<: *common, name: whole, models: whole, response: $.text, stream: {keepalive: 20ms}}
  - <<: *common
    name: several
    models: several
    request: {body: {prompt: $.prompt}}
    response: $.text
    stream: {keepalive: 20ms}
  - name: websocket
    models: websocket
    upstream: "${UPSTREAM}"
    path: /socket
    request: {body: {prompt: $.prompt}}
    response: false
    stream: {framing: websocket, text: $.text, keepalive: 20ms}
  - name: polled
    models: polled
    upstream: "${UPSTREAM}"
    request: {body: {prompt: $.prompt}}
    poll: {path: /poll, every: 1ms, until: {$.status: done}}
    response: $.text
    stream: {keepalive: 20ms}
  - {<<: *common, name: pass, models: pass, stream: {keepalive: pass}}
  - {<<: *common, name: silent, models: silent}
  - {<<: *common, name: slow, models: slow, stream: {keepalive: 1h}}
"""


def routes_of(url: str) -> dict[str, str]:
    return {"UPSTREAM": url}


def stream_body(model: str, **more: Any) -> dict[str, Any]:
    return {**HELLO, "model": model, "stream": True, **more}


class SilentUpstream:
    """An upstream that responds when it is released."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def respond(self, peer: Connection) -> None:
        while (request := await peer.request()) is not None:
            await self.release.wait()
            if is_stream(request):
                await peer.send(stream_response(frame("hello"), DONE))
            else:
                await peer.send(http_response({**completion("hello"), "status": "done"}))

    async def respond_websocket(self, peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        await self.release.wait()
        await peer.send(text_message("hello") + close_frame(1000))
        await peer.wait_closed()


async def read_comments(client: Client, number: int) -> None:
    """Read the head of a stream, and comments."""
    status, headers = await client.head()
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    for _ in range(number):
        assert await client.chunk() == COMMENT


async def read_rest(client: Client) -> bytes:
    """Read the rest of a stream, and remove the comments, which the strict reader refuses."""
    return b"".join([piece async for piece in client.chunks()]).replace(COMMENT, b"")


@pytest.mark.parametrize("model", ["openai", "own", "streams", "whole", "several", "websocket", "polled"])
async def test_a_client_of_a_silent_upstream_gets_comments(model: str) -> None:
    upstream = SilentUpstream()
    behave = upstream.respond_websocket if model == "websocket" else upstream.respond
    async with (
        run_upstream(behave) as server,
        run_bridge(ROUTES, routes_of(server.url)) as bridge,
        bridge.connect() as client,
    ):
        await client.send(stream_body(model, **({"n": 3} if model == "several" else {})))
        await read_comments(client, 3)
        upstream.release.set()
        stream = read_stream(await read_rest(client))
        assert {choice.text for choice in stream.choices.values()} == {"hello"}
        assert stream.error is None


async def test_a_pause_between_chunks_is_filled() -> None:
    release = asyncio.Event()

    async def pauses(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(frame("hel")))
        await release.wait()
        await peer.send(chunk(frame("lo")) + chunk(DONE) + chunk(b""))

    async with (
        run_upstream(pauses) as server,
        run_bridge(ROUTES, routes_of(server.url)) as bridge,
        bridge.connect() as client,
    ):
        await client.send(stream_body("openai"))
        await client.head()
        received = b""
        while received.count(COMMENT) < 3:
            received += await client.chunk()
        assert b'"hel"' in received.partition(COMMENT)[0]
        release.set()
        stream = read_stream(received.replace(COMMENT, b"") + await read_rest(client))
        assert stream.choice.text == "hello"


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (b"", "upstream_disconnect"),
        (http_response({"error": {"message": "overloaded", "code": "busy"}}, 503), "busy"),
        (stream_response(DONE), "upstream_empty"),
        (b"nonsense\r\n\r\n", "upstream_garbled"),
    ],
)
async def test_a_failure_after_a_comment_is_an_event(response: bytes, code: str) -> None:
    release = asyncio.Event()

    async def fails(peer: Connection) -> None:
        await peer.request()
        await release.wait()
        await peer.send(response)

    with captured_log() as log:
        async with (
            run_upstream(fails) as server,
            run_bridge(ROUTES, routes_of(server.url)) as bridge,
            bridge.connect() as client,
        ):
            await client.send(stream_body("openai"))
            await read_comments(client, 1)
            release.set()
            stream = read_failure(await read_rest(client))
            assert stream.error is not None
            assert stream.error["code"] == code
        (line,) = log.of("request")
    assert (line["status"], line["code"]) == (200, code)
    assert "first_ms" not in line, "a comment is no output"


def read_failure(data: bytes) -> CompletionStream:
    """Read a stream that contains nothing but comments and an error."""
    stream = read_stream(data)
    assert not stream.choices
    assert b"[DONE]" not in data
    return stream


async def test_a_shutdown_after_a_comment_is_an_event() -> None:
    upstream = SilentUpstream()
    async with run_upstream(upstream.respond) as server:
        block = run_bridge("server: {drain: 0s}\n" + ROUTES, routes_of(server.url))
        bridge = await block.__aenter__()
        async with bridge.connect() as client:
            await client.send(stream_body("openai"))
            await read_comments(client, 1)
            ending = asyncio.ensure_future(block.__aexit__(None, None, None))
            stream = read_failure(await read_rest(client))
            assert stream.error is not None
            assert stream.error["code"] == "shutting_down"
            await ending


async def answer_to(bridge: RunningBridge, model: str) -> tuple[int, bytes]:
    response = await bridge.request(stream_body(model))
    return response.status, response.body


@pytest.mark.parametrize(
    ("pieces", "comments"),
    [
        ([b": processing\n\n", frame("hello")], 1),
        ([b":\n\n", b":\n\n", frame("hello"), b":\r\n\r\n"], 3),
        ([b": half a ", b"comment\n\n", frame("hello")], 1),
        ([b"event: ping\n: in an event\n\n", frame("hello")], 1),
        ([frame("hello")[:9], frame("hello")[9:]], 0),
        ([b"event", b": ping\n\n", frame("hello")], 0),
    ],
)
async def test_comments_of_the_upstream_are_passed_on(pieces: list[bytes], comments: int) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head())
        for piece in pieces:
            await peer.send(chunk(piece))
            await asyncio.sleep(0.01)
        await peer.send(chunk(DONE) + chunk(b""))

    async with run_upstream(behave) as server, run_bridge(ROUTES, routes_of(server.url)) as bridge:
        status, body = await answer_to(bridge, "pass")
        assert (status, body.count(COMMENT)) == (200, comments)
        assert read_stream(body.replace(COMMENT, b"")).choice.text == "hello"
        _, body = await answer_to(bridge, "silent")
        assert b": " not in body.replace(b"data: {", b"").replace(b"data: [", b"")


async def test_a_comment_of_the_upstream_brings_the_head() -> None:
    release = asyncio.Event()

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(b": processing\n\n"))
        await release.wait()
        await peer.send(chunk(frame("hello")) + chunk(DONE) + chunk(b""))

    async with (
        run_upstream(behave) as server,
        run_bridge(ROUTES, routes_of(server.url)) as bridge,
        bridge.connect() as client,
    ):
        await client.send(stream_body("pass"))
        await read_comments(client, 1)
        release.set()
        assert read_stream(await read_rest(client)).choice.text == "hello"


async def test_an_error_keeps_its_status_whatever_its_body_contains() -> None:
    async def behave(peer: Connection) -> None:
        while await peer.request():
            await peer.send(http_response(b": no comment\n: at all\n", 503, content_type="text/plain"))

    async with run_upstream(behave) as server, run_bridge(ROUTES, routes_of(server.url)) as bridge:
        for model in ("pass", "slow", "silent"):
            response = await bridge.request(stream_body(model))
            assert response.status == 503
            assert response.error()["code"]


@pytest.mark.parametrize("model", ["openai", "pass"])
async def test_a_completion_contains_no_comment(model: str) -> None:
    upstream = SilentUpstream()
    async with run_upstream(upstream.respond) as server, run_bridge(ROUTES, routes_of(server.url)) as bridge:
        pending = asyncio.ensure_future(bridge.request({**HELLO, "model": model}))
        await server.wait_until(lambda server: len(server.requests) == 1)
        await asyncio.sleep(0.1)
        upstream.release.set()
        assert (await pending).completion().choice.text == "hello"


async def test_a_client_that_disconnects_during_a_silence_ends_the_request() -> None:
    closed = asyncio.Event()

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.wait_closed()
        closed.set()

    async with run_upstream(behave) as server, run_bridge(ROUTES, routes_of(server.url)) as bridge:
        async with bridge.connect() as client:
            await client.send(stream_body("openai"))
            await read_comments(client, 1)
        await closed.wait()
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
        await bridge.wait_for_count(0, "bridge_requests_in_progress")


@pytest.mark.parametrize(
    "rules", ["response: $.text, stream: {keepalive: pass}", "stream: {framing: ndjson, keepalive: pass}"]
)
def test_only_a_stream_of_events_has_comments_to_pass_on(rules: str) -> None:
    with pytest.raises(ConfigError, match="`keepalive: pass` without a stream in `framing: sse`"):
        load_table(f"routes: [{{models: m, upstream: 'http://h', {rules}}}]", {})


def test_keepalive_alone_does_not_change_how_the_upstream_streams() -> None:
    table = load_table(ROUTES, {"UPSTREAM": "http://h"})
    by_name = {route.name: route for route in table.routes}
    assert by_name["openai"].is_passthrough
    assert by_name["whole"].response.streaming is None
    assert by_name["own"].response.streaming is not None
