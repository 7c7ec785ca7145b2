"""The time until the first output of a stream (`timeouts.first_token`)."""

from __future__ import annotations

import asyncio

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, http_response, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import DONE, completion, event, frame, is_stream, stream_head

STREAM = {**HELLO, "stream": True}
ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]})


def routes(upstream: str = "", rest: str = "") -> str:
    settings = f"{{url: '${{UPSTREAM}}', timeouts: {{first_token: 300ms}}{upstream}}}"
    return f"routes: [{{models: m, upstream: {settings}{rest}}}]"


SILENT = {
    "no head": b"",
    "a head": stream_head(),
    "a comment": stream_head() + chunk(b": processing\n\n"),
    "a role": stream_head() + chunk(ROLE),
}


@pytest.mark.parametrize("case", SILENT)
async def test_a_stream_without_output_is_a_timeout(case: str) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(SILENT[case])
        await peer.wait_closed()

    async with run_upstream(behave) as server, run_bridge(routes(), {"UPSTREAM": server.url}) as bridge:
        async with asyncio.timeout(5):
            response = await bridge.request(STREAM)
        assert (response.status, response.error()["code"]) == (504, "upstream_timeout")
        assert "within 0.3 s" in response.error()["message"]
        await server.wait_until(lambda server: server.closed == 1)
        await bridge.wait_for_count(0, "bridge_requests_in_progress")


async def test_after_the_first_output_a_stream_may_pause() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(ROLE))
        await asyncio.sleep(0.1)
        await peer.send(chunk(frame("hel")))
        await asyncio.sleep(0.5)
        await peer.send(chunk(frame("lo")) + chunk(DONE) + chunk(b""))

    async with run_upstream(behave) as server, run_bridge(routes(), {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(STREAM)).stream().choice.text == "hello"


async def test_other_responses_have_their_own_timeout() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await asyncio.sleep(0.5)
        await peer.send(http_response(completion("hello")))

    async with run_upstream(behave) as server, run_bridge(routes(), {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).completion().choice.text == "hello"


async def test_a_response_that_the_upstream_does_not_stream_has_no_first_token() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await asyncio.sleep(0.5)
        await peer.send(http_response({"text": "hello"}))

    text = routes(rest=", response: $.text")
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(STREAM)).stream().choice.text == "hello"


async def test_a_request_whose_head_is_late_may_be_retried() -> None:
    async def behave(peer: Connection) -> None:
        request = await peer.request()
        assert request is not None
        assert is_stream(request)
        if peer.number == 1:
            await peer.wait_closed()
        await peer.send(stream_head() + chunk(frame("hello")) + chunk(DONE) + chunk(b""))

    text = routes(", retry: {on: [timeout], backoff: 1ms}")
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(STREAM)).stream().choice.text == "hello"
        assert len(server.requests) == 2


async def test_after_a_comment_for_the_client_the_timeout_is_an_event_of_the_stream() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head())
        await peer.wait_closed()

    text = routes(rest=", stream: {keepalive: 100ms}")
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(STREAM)
        assert response.status == 200
        assert b"upstream_timeout" in response.body
        assert b"[DONE]" not in response.body


async def test_a_replica_that_gives_no_output_is_evicted() -> None:
    async def hang(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head())
        await peer.wait_closed()

    async def stream(peer: Connection) -> None:
        while await peer.request():
            await peer.send(stream_head() + chunk(frame("hello")) + chunk(DONE) + chunk(b""))

    text = routes(", replicas: ['${OTHER}'], evict: {after: 1, for: 1m}")
    async with (
        run_upstream(hang) as a,
        run_upstream(stream) as b,
        run_bridge(text, {"UPSTREAM": a.url, "OTHER": b.url}) as bridge,
    ):
        statuses = [(await bridge.request(STREAM)).status for _ in range(6)]
        assert sorted(statuses) == [200] * 5 + [504]
