"""Fallbacks: another route is tried when a route fails before the first byte for the client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.errors import ConfigError
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, http_response, responder, run_upstream
from tests.running_bridge import load_table, run_bridge
from tests.telemetry.captured_log import captured_log
from tests.upstream.formats import DONE, completion, frame, is_stream, stream_head, stream_response

if TYPE_CHECKING:
    from tests.raw_upstream import Handler

GOOD = http_response(completion("hello"))
ROUTES = """
routes:
  - {name: first, models: m, upstream: {url: "${A}", timeouts: {first_byte: 200ms}}, fallback: second}
  - {name: second, models: other, model: backup, upstream: "${B}"}
"""


async def answers(peer: Connection) -> None:
    """Respond as requested, in one piece or as a stream."""
    while request := await peer.request():
        assert request.body["model"] == "backup"
        await peer.send(stream_response(frame("hello"), DONE) if is_stream(request) else GOOD)


async def closes(peer: Connection) -> None:
    await peer.request()


async def hangs(peer: Connection) -> None:
    await peer.request()
    await peer.wait_closed()


async def begins(peer: Connection) -> None:
    await peer.request()
    await peer.send(stream_head() + chunk(b": comment\n\n"))


def refusal(status: int) -> bytes:
    return http_response({"error": {"message": "no"}}, status)


FAILURES: dict[str, tuple[Handler, str]] = {
    "closes": (closes, "disconnect"),
    "hangs": (hangs, "timeout"),
    "is busy": (responder(refusal(429)), "refused"),
    "fails": (responder(refusal(500)), "refused"),
    "refuses the key": (responder(refusal(401)), "refused"),
    "sends no text": (responder(http_response({"choices": []})), ""),
    "sends no JSON": (responder(http_response(b"<html>")), ""),
    "breaks off": (begins, ""),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", FAILURES)
async def test_the_fallback_answers_when_a_route_fails(case: str, *, stream: bool) -> None:
    behave, kind = FAILURES[case]
    with captured_log() as log:
        async with (
            run_upstream(behave) as a,
            run_upstream(answers) as b,
            run_bridge(ROUTES, {"A": a.url, "B": b.url}) as bridge,
        ):
            response = await bridge.request({**HELLO, "stream": stream})
            text = (response.stream() if stream else response.completion()).choice.text
            assert text == "hello"
            assert response.headers["x-bridge-route"] == "second"
            assert (len(a.requests), len(b.requests)) == (1, 1)
            await bridge.wait_for_count(1, "bridge_requests_total", route="first", code="200")
            assert await bridge.count("bridge_fallbacks_total", route="first", fallback="second") == 1
            labels = {"kind": kind} if kind else {}
            assert await bridge.count("bridge_upstream_errors_total", route="first", **labels) == 1
            assert await bridge.count("bridge_upstream_errors_total") == 1
        (line,) = log.of("request")
        assert (line["route"], line["fallback"], line["status"]) == ("first", "second", 200)
        assert "error" not in line


async def test_an_unreachable_route_falls_back() -> None:
    async with run_upstream(closes) as a:
        closed = a.url
    async with run_upstream(answers) as b, run_bridge(ROUTES, {"A": closed, "B": b.url}) as bridge:
        assert (await bridge.request(HELLO)).completion().choice.text == "hello"


async def test_a_stream_without_output_in_time_falls_back() -> None:
    async def stalls(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(b": processing\n\n"))
        await peer.wait_closed()

    text = ROUTES.replace("first_byte: 200ms", "first_token: 200ms")
    async with (
        run_upstream(stalls) as a,
        run_upstream(answers) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        assert (await bridge.request({**HELLO, "stream": True})).stream().choice.text == "hello"
        await a.wait_until(lambda server: server.closed == 1)


async def test_several_calls_fall_back_together() -> None:
    """A completion of several choices is made of several calls, of which the first failure ends all."""
    text = """
routes:
  - {name: a, models: m, upstream: "${A}", request: {body: {text: $.prompt}}, response: $.text, fallback: b}
  - {name: b, models: b, upstream: "${B}", request: {body: {text: $.prompt}}, response: $.text}
"""
    good = http_response({"text": "hello"})
    async with (
        run_upstream(responder(good, refusal(500))) as a,
        run_upstream(responder(good)) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        response = await bridge.request({**HELLO, "n": 3})
        assert [choice["message"]["content"] for choice in response.json["choices"]] == ["hello"] * 3
        assert len(b.requests) == 3


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_an_error_of_the_client_is_final(status: int) -> None:
    async with (
        run_upstream(responder(refusal(status))) as a,
        run_upstream(answers) as b,
        run_bridge(ROUTES, {"A": a.url, "B": b.url}) as bridge,
    ):
        response = await bridge.request(HELLO)
        assert response.status == status
        assert response.headers["x-bridge-route"] == "first"
        assert b.requests == []


async def test_nothing_is_repeated_after_the_first_byte_for_the_client() -> None:
    async def breaks_off(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(frame("hel")))

    async with (
        run_upstream(breaks_off) as a,
        run_upstream(answers) as b,
        run_bridge(ROUTES, {"A": a.url, "B": b.url}) as bridge,
    ):
        response = await bridge.request({**HELLO, "stream": True})
        assert response.stream().error is not None
        assert b.requests == []


async def test_the_failure_of_the_last_fallback_is_the_clients() -> None:
    async with (
        run_upstream(responder(refusal(500))) as a,
        run_upstream(responder(http_response({"error": {"message": "full"}}, 503))) as b,
        run_bridge(ROUTES, {"A": a.url, "B": b.url}) as bridge,
    ):
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["message"]) == (503, "full")
        await bridge.wait_for_count(1, "bridge_upstream_errors_total", route="second", kind="refused")


async def test_fallbacks_follow_retries_and_may_have_fallbacks() -> None:
    text = """
routes:
  - {name: a, models: m, upstream: {url: "${A}", retry: {backoff: 1ms, retries: 1}}, fallback: b}
  - {name: b, models: b, upstream: "${B}", fallback: c}
  - {name: c, models: c, model: backup, upstream: "${C}"}
"""
    async with (
        run_upstream(responder(refusal(503))) as a,
        run_upstream(responder(refusal(500))) as b,
        run_upstream(answers) as c,
        run_bridge(text, {"A": a.url, "B": b.url, "C": c.url}) as bridge,
    ):
        assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert [len(server.requests) for server in (a, b, c)] == [2, 1, 1]
        assert await bridge.count("bridge_fallbacks_total") == 2


async def test_a_full_queue_falls_back() -> None:
    go_on = asyncio.Event()

    async def waits(peer: Connection) -> None:
        while await peer.request():
            await go_on.wait()
            await peer.send(GOOD)

    text = ROUTES.replace("fallback: second", "fallback: second, limits: {concurrency: 1, queue: 0}")
    async with (
        run_upstream(waits) as a,
        run_upstream(answers) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        waiting = asyncio.ensure_future(bridge.request(HELLO))
        await a.wait_until(lambda server: len(server.requests) == 1)
        response = await bridge.request(HELLO)
        assert response.headers["x-bridge-route"] == "second"
        assert response.completion().choice.text == "hello"
        go_on.set()
        assert (await waiting).headers["x-bridge-route"] == "first"


async def test_the_rules_are_those_of_the_fallback() -> None:
    text = """
routes:
  - {name: a, models: m, upstream: "${A}", fallback: b}
  - name: b
    models: b
    upstream: "${B}"
    headers: {X-Own: "yes"}
    request: {body: {text: $.prompt}}
    response: $.answer
    stream: {text: $.answer}
"""
    body: dict[str, Any] = {**HELLO, "temperature": 0.5}
    async with (
        run_upstream(closes) as a,
        run_upstream(responder(http_response({"answer": "hello"}))) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        response = await bridge.request(body)
        assert response.completion().choice.text == "hello"
        assert response.json["model"] == "m"
        assert response.headers["x-bridge-dropped"] == "temperature"
        (request,) = b.requests
        assert request.headers["x-own"] == "yes"
        assert set(request.body) == {"text"}


@pytest.mark.parametrize(("auth", "sent"), [("", None), ("auth: client, ", "Bearer own")])
async def test_the_clients_key_is_only_sent_where_the_route_says_so(auth: str, sent: str | None) -> None:
    text = f"""
routes:
  - {{name: a, models: m, auth: client, upstream: "${{A}}", fallback: b}}
  - {{name: b, models: b, {auth}upstream: "${{B}}"}}
"""
    async with (
        run_upstream(closes) as a,
        run_upstream(responder(GOOD)) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        assert (await bridge.request(HELLO, headers={"Authorization": "Bearer own"})).status == 200
        assert a.requests[0].headers["authorization"] == "Bearer own"
        assert b.requests[0].headers.get("authorization") == sent


async def test_a_body_that_is_too_large_for_the_fallback_is_not_sent_there() -> None:
    text = ROUTES.replace("model: backup,", "model: backup, limits: {body: 1KiB},")
    body = {**HELLO, "messages": [{"role": "user", "content": "x" * 2000}]}
    async with (
        run_upstream(closes) as a,
        run_upstream(answers) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        assert (await bridge.request(body)).error()["code"] == "upstream_disconnect"
        assert b.requests == []


def problems_of(*routes: str) -> list[str]:
    text = "routes:\n" + "\n".join(f"- {{upstream: 'http://a', {route}}}" for route in routes)
    try:
        load_table(text, {})
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_invalid_fallbacks_are_problems() -> None:
    (unknown,) = problems_of("models: first, fallback: secund", "models: second")
    assert "no route is called `secund`" in unknown
    assert "did you mean `second`" in unknown
    (itself,) = problems_of("models: a, fallback: a")
    assert "lead back" in itself
    circle = problems_of("models: a, fallback: b", "models: b, fallback: c", "models: c, fallback: a")
    assert len(circle) == 3
    (endpoints,) = problems_of("models: a, serves: [chat, embeddings], fallback: b", "models: b")
    assert "the route `b` does not serve embeddings" in endpoints
    (key,) = problems_of("models: a, fallback: b", "models: b, auth: client")
    assert "forwards the client's key" in key
    assert problems_of("models: a, fallback: b", "models: b, fallback: c", "models: c") == []


def test_the_fallback_of_a_route_with_problems_is_no_further_problem() -> None:
    (problem,) = problems_of("models: a, fallback: b", "models: b, nonsense: 1")
    assert "unknown key" in problem
