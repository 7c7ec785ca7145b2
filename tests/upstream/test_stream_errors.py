"""Streams that fail on their way, and streams that end oddly but well."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable

import pytest

from tests.raw_client import HELLO, run_bridge
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

STREAMING = [way for way in VARIANTS if way.upstream]
TO_THE_END = head(200, http="1.0", content_type="text/event-stream")


def goes_on(*pieces: bytes, begin: bytes = stream_head(), stays: bool = False) -> Behave:
    """Says two good pieces and waits for them to be on their way, then says these."""

    async def behave(peer: Connection) -> None:
        await peer.request()
        chunked = b"chunked" in begin
        await peer.send(begin)
        for good in (frame("one "), frame("two ")):
            await peer.send(chunk(good) if chunked else good)
        await asyncio.sleep(0.02)
        for piece in pieces:
            await peer.send(piece)
        if stays:
            await peer.wait_closed()

    return behave


async def resets(peer: Connection) -> None:
    await goes_on()(peer)
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


FAILED = {"error": {"message": "out of memory", "type": "server_error"}}
PAGE = b"<html><body>502 Bad Gateway</body></html>\n\n"

FAULTS: dict[str, tuple[Behave, str, int]] = {
    "closes": (goes_on(), "upstream_disconnect", 502),
    "closes inside of a chunk": (goes_on(b"400\r\ndata: {"), "upstream_disconnect", 502),
    "closes inside of an event": (goes_on(chunk(frame("three")[:40])), "upstream_", 502),
    "resets": (resets, "upstream_disconnect", 502),
    "ends before it is done": (goes_on(chunk(b"")), "upstream_disconnect", 502),
    "ends before it is done, without a length": (goes_on(begin=TO_THE_END), "upstream_disconnect", 502),
    "is short of its length": (
        goes_on(begin=head(200, content_type="text/event-stream", content_length="9999")),
        "upstream_disconnect",
        502,
    ),
    "falls silent": (goes_on(stays=True), "upstream_timeout", 504),
    "falls silent inside of an event": (goes_on(chunk(b'data: {"del'), stays=True), "upstream_timeout", 504),
    "has a chunk size that is none": (goes_on(b"zz\r\nhello\r\n"), "upstream_", 502),
    "has a chunk without its end": (goes_on(b"3\r\nabcdef\r\n"), "upstream_", 502),
    "reports an error": (goes_on(chunk(event(FAILED))), "upstream_refused", 502),
    "reports an error and goes on": (
        goes_on(chunk(event(FAILED) + frame("three") + DONE), stays=True),
        "upstream_refused",
        502,
    ),
    "reports an error as an event of that name": (
        goes_on(chunk(b'event: error\ndata: {"message": "out of memory"}\n\n')),
        "upstream_refused",
        502,
    ),
    "sends what is no JSON": (goes_on(chunk(b"data: {oops}\n\n")), "upstream_garbled", 502),
    "sends a page": (goes_on(chunk(PAGE)), "upstream_", 502),
    "sends a huge frame": (goes_on(chunk(frame("x" * 70_000))), "upstream_limit", 502),
    "sends a frame without an end": (goes_on(*[chunk(b"data: " + b"x" * 9000)] * 9), "upstream_limit", 502),
    "sends too much": (goes_on(*[chunk(frame("x" * 30_000))] * 6), "upstream_limit", 502),
}

UNFRAMED = {"has a chunk size that is none", "has a chunk without its end"}
"""What aiohttp's client may wait on, though the server has closed: ended as garbled or as too slow."""


@pytest.mark.parametrize("way", STREAMING, ids=str)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_stream_that_fails_ends_with_an_error_event(fault: str, way: Variant) -> None:
    behave, code, status = FAULTS[fault]
    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(way.body)
        if way.stream:
            read = answer.stream()
            error = read.error
            assert read.choice.text.startswith("one two ")
            assert b"[DONE]" not in answer.body
        else:  # nothing was sent yet, so that the status can still tell
            assert answer.status == status or (fault in UNFRAMED and answer.status in (502, 504))
            error = answer.error()
        assert error is not None
        assert (error["code"] or "").startswith(code), error
        await bridge.wait_for_count(1, "bridge_upstream_errors_total", route=way.model)
        assert await bridge.count("bridge_client_disconnects_total") == 0


async def test_an_error_event_says_what_the_server_said() -> None:
    behave, *_ = FAULTS["reports an error"]
    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for way in STREAMING:
            answer = await bridge.request(way.body)
            error = answer.stream().error if way.stream else answer.error()
            assert error is not None
            assert error["message"] == "out of memory"
            assert error["type"] == "server_error"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("behave", [drips, drips_comments, Connection.wait_closed])
async def test_an_answer_that_goes_on_for_ever_ends_by_the_total(behave: Behave, *, stream: bool) -> None:
    way = Variant("total", stream=stream, upstream=stream)
    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(way.body)
        if answer.status == 200:
            error = answer.stream().error
        else:
            assert answer.status == 504
            error = answer.error()
        assert error is not None
        assert error["code"] == "upstream_timeout"
        assert "0.3 s" in error["message"]


def one_whole_body(text: str) -> bytes:
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
    "with more behind its end": stream_response(frame("hello"), DONE, frame("never"), b"noise\n\n", DONE),
    "with an error behind its end": stream_response(frame("hello"), DONE, event(FAILED)),
    "cut behind its end": stream_head() + chunk(frame("hello") + DONE),
    "behind early hints": head(103, link="</style.css>") + stream_response(frame("hello"), DONE),
    "gzip, though identity was asked": http_response(
        GZIPPED, content_encoding="gzip", content_type="text/event-stream"
    ),
    "with trailers": stream_head() + chunk(frame("hello") + DONE) + b"0\r\nx-cost: 3\r\n\r\n",
    "with chunk extensions": stream_head()
    + b"%x;a=b\r\n%b\r\n" % (len(frame("hello") + DONE), frame("hello") + DONE)
    + chunk(b""),
    "whole where a stream was promised": one_whole_body("hello"),
}


@pytest.mark.parametrize(
    ("ending", "way"),
    [
        pytest.param(ending, way, id=f"{ending}-{way}")
        for ending in ENDINGS
        for way in STREAMING[:3]
        # The route of gathered answers knows no whole ones.
        if not (ending.startswith("whole") and way.model == "gathered")
    ],
)
async def test_a_stream_may_end_in_many_ways(ending: str, way: Variant) -> None:
    async def behave(peer: Connection) -> None:
        request = await peer.request()
        assert request is not None
        assert is_stream(request)
        assert request.headers["accept-encoding"] == "identity"
        await peer.send(ENDINGS[ending])

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(way.body)
        said = answer.stream().choice if way.stream else answer.completion().choice
        assert (said.text, said.finish_reason) == ("hello", "stop")
        assert await bridge.count("bridge_upstream_errors_total") == 0


@pytest.mark.parametrize("way", STREAMING, ids=str)
@pytest.mark.parametrize("tail", [b"", chunk(frame("never")), b"zz\r\n"])
async def test_the_end_does_not_wait_for_the_connection(way: Variant, tail: bytes) -> None:
    text = ROUTES.replace("idle: 300ms", "idle: 1h")
    behave = goes_on(chunk(DONE), tail, stays=True)
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(way.body)
        said = answer.stream().choice if way.stream else answer.completion().choice
        assert said.text == "one two "
        await server.wait_until(lambda server: server.closed == 1)  # it is not left open for ever
        await bridge.wait_for_count(1, "bridge_requests_total", code="200")
        assert await bridge.count("bridge_upstream_errors_total") == 0


async def test_a_client_that_has_all_may_go_while_the_connection_lingers() -> None:
    text = ROUTES.replace("idle: 300ms", "idle: 1h")
    behave = goes_on(chunk(DONE), stays=True)
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        for way in (STREAMING[0], STREAMING[1]):
            answer = await bridge.request(
                way.body, headers={"Connection": "close"}
            )  # closes behind the last byte
            assert answer.stream().error is None
        await server.wait_until(lambda server: server.closed == 2)
        await bridge.wait_for_count(0, "bridge_requests_in_progress")
        assert await bridge.count("bridge_requests_total", code="200") == 2
        assert await bridge.count("bridge_client_disconnects_total") == 0


ODD = "a\0b\u2028c\u2029d\x85e\U0001f600f\ufeff"


def broken(data: bytes) -> bytes:
    """The same with bytes that are no JSON: a character cut short, a bare NUL."""
    return data.replace("\U0001f600".encode(), b"\xf0\x9f\x98").replace(b"\\u0000", b"\0")


@pytest.mark.parametrize("way", VARIANTS, ids=str)
async def test_odd_characters_pass_or_are_replaced(way: Variant) -> None:
    good = json.dumps(completion(ODD), ensure_ascii=False).encode()
    piece = b"data: " + json.dumps(json.loads(frame(ODD)[6:]), ensure_ascii=False).encode() + b"\n\n"
    answers = [
        (stream_response(piece, piece, DONE) if way.upstream else http_response(good), ODD),
        (
            stream_response(broken(piece), broken(piece), DONE)
            if way.upstream
            else http_response(broken(good)),
            ODD.replace("\U0001f600", "\ufffd"),
        ),
    ]
    for sent, text in answers:
        async with (
            run_upstream(responder(sent)) as server,
            run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
        ):
            answer = await bridge.request(way.body)
            said = answer.stream().choice if way.stream else answer.completion().choice
            assert said.text == (text * 2 if way.upstream else text)


@pytest.mark.parametrize("way", [way for way in VARIANTS if not way.upstream], ids=str)
@pytest.mark.parametrize(
    "answer",
    [
        http_response(gzip.compress(json.dumps(completion("hello")).encode()), content_encoding="gzip"),
        head(200, http="1.0") + json.dumps(completion("hello")).encode(),
        http_response(completion("hello"), content_type="text/plain; charset=gbk"),
        head(100) + head(103) + http_response(completion("hello")),
    ],
    ids=["gzip", "until it closes", "of another type", "behind informational heads"],
)
async def test_a_whole_answer_may_come_in_many_ways(answer: bytes, way: Variant) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(answer)

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        got = await bridge.request(way.body)
        said = got.stream().choice if way.stream else got.completion().choice
        assert (said.text, said.finish_reason) == ("hello", "stop")


async def test_what_stands_ahead_of_a_broken_chunk_is_said() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(frame("hel")) + chunk(frame("lo")) + b"zz\r\nnonsense")
        await peer.wait_closed()

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        said = (await bridge.request({**HELLO, "model": "openai", "stream": True})).stream()
    assert said.choice.text == "hello"
    assert "does not speak HTTP: Invalid character in chunk size" in (said.error or {})["message"]
