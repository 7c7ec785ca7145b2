"""Streams that fail after output, and unusual streams that succeed."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest

from tests.raw_client import HELLO
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

STREAMING = [variant for variant in VARIANTS if variant.upstream]
TO_THE_END = head(200, http="1.0", content_type="text/event-stream")


def streams_then(*pieces: bytes, begin: bytes = stream_head(), waits: bool = False) -> Handler:
    """Return a handler that streams two frames, and after a moment sends these bytes."""

    async def behave(peer: Connection) -> None:
        await peer.request()
        chunked = b"chunked" in begin
        await peer.send(begin)
        for valid in (frame("one "), frame("two ")):
            await peer.send(chunk(valid) if chunked else valid)
        await asyncio.sleep(0.02)
        for piece in pieces:
            await peer.send(piece)
        if waits:
            await peer.wait_closed()

    return behave


async def resets(peer: Connection) -> None:
    await streams_then()(peer)
    peer.abort()


async def drips(peer: Connection) -> None:
    await peer.request()
    await peer.send(stream_head())
    while True:
        await peer.send(chunk(frame("drip ")))
        await asyncio.sleep(0.02)


async def drips_comments(peer: Connection) -> None:
    await peer.request()
    await peer.send(stream_head())
    while True:
        await peer.send(chunk(b": still there\n\n"))
        await asyncio.sleep(0.02)


ERROR_BODY = {"error": {"message": "out of memory", "type": "server_error"}}
PAGE = b"<html><body>502 Bad Gateway</body></html>\n\n"

FAULTS: dict[str, tuple[Handler, str, int]] = {
    "closes": (streams_then(), "upstream_disconnect", 502),
    "closes within a chunk": (streams_then(b"400\r\ndata: {"), "upstream_disconnect", 502),
    "closes within an event": (streams_then(chunk(frame("three")[:40])), "upstream_", 502),
    "resets": (resets, "upstream_disconnect", 502),
    "ends without [DONE]": (streams_then(chunk(b"")), "upstream_disconnect", 502),
    "ends without [DONE] and without a length": (streams_then(begin=TO_THE_END), "upstream_disconnect", 502),
    "is short of its length": (
        streams_then(begin=head(200, content_type="text/event-stream", content_length="9999")),
        "upstream_disconnect",
        502,
    ),
    "falls silent": (streams_then(waits=True), "upstream_timeout", 504),
    "falls silent within an event": (
        streams_then(chunk(b'data: {"del'), waits=True),
        "upstream_timeout",
        504,
    ),
    "has an invalid chunk size": (streams_then(b"zz\r\nhello\r\n"), "upstream_", 502),
    "has a chunk without its end": (streams_then(b"3\r\nabcdef\r\n"), "upstream_", 502),
    "reports an error": (streams_then(chunk(event(ERROR_BODY))), "upstream_refused", 502),
    "reports an error and goes on": (
        streams_then(chunk(event(ERROR_BODY) + frame("three") + DONE), waits=True),
        "upstream_refused",
        502,
    ),
    "reports an error as an event of that name": (
        streams_then(chunk(b'event: error\ndata: {"message": "out of memory"}\n\n')),
        "upstream_refused",
        502,
    ),
    "sends invalid JSON": (streams_then(chunk(b"data: {oops}\n\n")), "upstream_garbled", 502),
    "sends an HTML page": (streams_then(chunk(PAGE)), "upstream_", 502),
    "sends a huge frame": (streams_then(chunk(frame("x" * 70_000))), "upstream_limit", 502),
    "sends a frame without an end": (
        streams_then(*[chunk(b"data: " + b"x" * 9000)] * 9),
        "upstream_limit",
        502,
    ),
    "sends too much": (streams_then(*[chunk(frame("x" * 30_000))] * 6), "upstream_limit", 502),
}

UNFRAMED = {"has an invalid chunk size", "has a chunk without its end"}
"""Faults on which aiohttp's client may wait although the upstream has closed: garbled or timed out."""


@pytest.mark.parametrize("variant", STREAMING, ids=str)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_stream_that_fails_ends_with_an_error_event(fault: str, variant: Variant) -> None:
    behave, code, status = FAULTS[fault]
    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(variant.body)
        if variant.stream:
            stream = response.stream()
            error = stream.error
            assert stream.choice.text.startswith("one two ")
            assert b"[DONE]" not in response.body
        else:  # no output yet, so the error has its status
            assert response.status == status or (fault in UNFRAMED and response.status in (502, 504))
            error = response.error()
        assert error is not None
        assert (error["code"] or "").startswith(code), error
        await bridge.wait_for_count(1, "bridge_upstream_errors_total", route=variant.model)
        assert await bridge.count("bridge_client_disconnects_total") == 0


async def test_an_error_event_has_the_message_of_the_upstream() -> None:
    behave, *_ = FAULTS["reports an error"]
    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for variant in STREAMING:
            response = await bridge.request(variant.body)
            error = response.stream().error if variant.stream else response.error()
            assert error is not None
            assert error["message"] == "out of memory"
            assert error["type"] == "server_error"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("behave", [drips, drips_comments, Connection.wait_closed])
async def test_an_endless_response_ends_at_the_total_timeout(behave: Handler, *, stream: bool) -> None:
    variant = Variant("total", stream=stream, upstream=stream)
    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(variant.body)
        if response.status == 200:
            error = response.stream().error
        else:
            assert response.status == 504
            error = response.error()
        assert error is not None
        assert error["code"] == "upstream_timeout"
        assert "0.3 s" in error["message"]


def completion_response(text: str) -> bytes:
    return http_response(completion(text))


GZIPPED = gzip.compress(frame("hello") + DONE)

ENDINGS: dict[str, bytes] = {
    "in chunks": stream_response(frame("hel"), frame("lo"), DONE),
    "in one chunk": stream_response(frame("hel") + frame("lo") + DONE),
    "byte by byte": stream_head()
    + b"".join(chunk(bytes([one])) for one in frame("hello") + DONE)
    + chunk(b""),
    "of a length": http_response(frame("hello") + DONE, content_type="text/event-stream"),
    "until it closes": TO_THE_END + frame("hello") + DONE,
    "of another type": http_response(frame("hello") + DONE, content_type="text/plain"),
    "of no type": head(200, content_length=str(len(frame("hello") + DONE))) + frame("hello") + DONE,
    "with data after its end": stream_response(frame("hello"), DONE, frame("never"), b"noise\n\n", DONE),
    "with an error after its end": stream_response(frame("hello"), DONE, event(ERROR_BODY)),
    "truncated after its end": stream_head() + chunk(frame("hello") + DONE),
    "after early hints": head(103, link="</style.css>") + stream_response(frame("hello"), DONE),
    "gzip although identity was requested": http_response(
        GZIPPED, content_encoding="gzip", content_type="text/event-stream"
    ),
    "with trailers": stream_head() + chunk(frame("hello") + DONE) + b"0\r\nx-cost: 3\r\n\r\n",
    "with chunk extensions": stream_head()
    + b"%x;a=b\r\n%b\r\n" % (len(frame("hello") + DONE), frame("hello") + DONE)
    + chunk(b""),
    "non-streaming in place of a stream": completion_response("hello"),
}


@pytest.mark.parametrize(
    ("ending", "variant"),
    [
        pytest.param(ending, variant, id=f"{ending}-{variant}")
        for ending in ENDINGS
        for variant in STREAMING[:3]
        # The route `gathered` reads no non-streaming responses.
        if not (ending.startswith("non-streaming") and variant.model == "gathered")
    ],
)
async def test_unusual_streams_are_read(ending: str, variant: Variant) -> None:
    async def behave(peer: Connection) -> None:
        request = await peer.request()
        assert request is not None
        assert is_stream(request)
        assert request.headers["accept-encoding"] == "identity"
        await peer.send(ENDINGS[ending])

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(variant.body)
        choice = response.stream().choice if variant.stream else response.completion().choice
        assert (choice.text, choice.finish_reason) == ("hello", "stop")
        assert await bridge.count("bridge_upstream_errors_total") == 0


@pytest.mark.parametrize("variant", STREAMING, ids=str)
@pytest.mark.parametrize("tail", [b"", chunk(frame("never")), b"zz\r\n"])
async def test_the_end_of_a_stream_does_not_wait_for_the_connection(variant: Variant, tail: bytes) -> None:
    text = ROUTES.replace("idle: 300ms", "idle: 1h")
    behave = streams_then(chunk(DONE), tail, waits=True)
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(variant.body)
        choice = response.stream().choice if variant.stream else response.completion().choice
        assert choice.text == "one two "
        await server.wait_until(lambda server: server.closed == 1)  # the connection is not left open
        await bridge.wait_for_count(1, "bridge_requests_total", code="200")
        assert await bridge.count("bridge_upstream_errors_total") == 0


async def test_a_disconnect_after_the_end_is_not_counted() -> None:
    text = ROUTES.replace("idle: 300ms", "idle: 1h")
    behave = streams_then(chunk(DONE), waits=True)
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        for variant in (STREAMING[0], STREAMING[1]):
            response = await bridge.request(
                variant.body, headers={"Connection": "close"}
            )  # closes after the last byte
            assert response.stream().error is None
        await server.wait_until(lambda server: server.closed == 2)
        await bridge.wait_for_count(0, "bridge_requests_in_progress")
        assert await bridge.count("bridge_requests_total", code="200") == 2
        assert await bridge.count("bridge_client_disconnects_total") == 0


ODD = "a\0b\u2028c\u2029d\x85e\U0001f600f\ufeff"


def with_invalid_bytes(data: bytes) -> bytes:
    """Return the data with a truncated character and a bare NUL, which are invalid JSON."""
    return data.replace("\U0001f600".encode(), b"\xf0\x9f\x98").replace(b"\\u0000", b"\0")


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
async def test_unusual_characters_are_kept_or_replaced(variant: Variant) -> None:
    valid = json.dumps(completion(ODD), ensure_ascii=False).encode()
    piece = b"data: " + json.dumps(json.loads(frame(ODD)[6:]), ensure_ascii=False).encode() + b"\n\n"
    cases = [
        (stream_response(piece, piece, DONE) if variant.upstream else http_response(valid), ODD),
        (
            stream_response(with_invalid_bytes(piece), with_invalid_bytes(piece), DONE)
            if variant.upstream
            else http_response(with_invalid_bytes(valid)),
            ODD.replace("\U0001f600", "\ufffd"),
        ),
    ]
    for sent, text in cases:
        async with (
            run_upstream(responder(sent)) as server,
            run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
        ):
            response = await bridge.request(variant.body)
            choice = response.stream().choice if variant.stream else response.completion().choice
            assert choice.text == (text * 2 if variant.upstream else text)


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if not variant.upstream], ids=str)
@pytest.mark.parametrize(
    "upstream_response",
    [
        http_response(gzip.compress(json.dumps(completion("hello")).encode()), content_encoding="gzip"),
        head(200, http="1.0") + json.dumps(completion("hello")).encode(),
        http_response(completion("hello"), content_type="text/plain; charset=gbk"),
        head(100) + head(103) + http_response(completion("hello")),
    ],
    ids=["gzip", "until it closes", "of another type", "after interim responses"],
)
async def test_unusual_non_streaming_responses_are_read(upstream_response: bytes, variant: Variant) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(upstream_response)

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(variant.body)
        choice = response.stream().choice if variant.stream else response.completion().choice
        assert (choice.text, choice.finish_reason) == ("hello", "stop")


async def test_text_before_an_invalid_chunk_is_sent() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(frame("hel")) + chunk(frame("lo")) + b"zz\r\nnonsense")
        await peer.wait_closed()

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        choice = (await bridge.request({**HELLO, "model": "openai", "stream": True})).stream()
    assert choice.choice.text == "hello"
    assert "sent invalid HTTP: Invalid character in chunk size" in (choice.error or {})["message"]
