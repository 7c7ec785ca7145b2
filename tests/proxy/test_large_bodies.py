"""Large bodies are parsed, built and decoded in threads, so that the event loop serves other clients."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.json_bounds import MAX_INLINE
from bridge.exchange.exchange import Exchange
from bridge.openai.request_validation import parse_request
from bridge.proxy import forwarder
from bridge.server import api
from bridge.thread_pool import ThreadPool
from tests.raw_client import HELLO
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import run_bridge

if TYPE_CHECKING:
    from collections.abc import Callable

ROUTES = """
routes:
  - {models: m, upstream: "${UPSTREAM}", request: {body: {p: $.last, x: $.x}}, response: $.text}
  - {models: template, upstream: "${UPSTREAM}", prompt: {template: "{{ messages[0].content }}"},
     request: {body: {p: $.prompt}}, response: $.text}
  - {models: session, upstream: "${UPSTREAM}", request: {body: {p: $.last, s: $.session}}, response: $.text,
     session: {by: transcript, keep: conversation, open: {path: /open, id: $.id}}}
  - {models: vectors, serves: embeddings, upstream: "${UPSTREAM}", emulate: {batch: 1},
     request: {body: {p: $.input}}, response: {embeddings: $.e}}
"""
LARGE = "x" * MAX_INLINE

Threads = list[tuple[str, bool]]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Threads:
    """Return the steps of requests, and whether each of them ran in the thread of the event loop."""
    steps: Threads = []
    loop_thread = threading.current_thread()

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            steps.append((name, threading.current_thread() is loop_thread))
            return function(*args, **kwargs)

        return run

    monkeypatch.setattr(api, "parse_request", watched("parse", parse_request))
    monkeypatch.setattr(forwarder, "Exchange", watched("build", Exchange))
    monkeypatch.setattr(Exchange, "close", watched("close", Exchange.close))
    return steps


def chat(model: str, text: str, **members: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **members}


@pytest.mark.parametrize(
    ("model", "text", "answer", "threads"),
    [
        ("m", "hi", "hello", [("parse", True), ("build", True), ("close", True)]),
        ("m", LARGE, "hello", [("parse", False), ("build", False), ("close", True)]),
        ("m", "hi", LARGE, [("parse", True), ("build", True), ("close", False)]),
        ("template", LARGE[:20_000], "hello", [("parse", True), ("build", False), ("close", True)]),
    ],
)
async def test_only_large_bodies_are_handled_in_threads(
    steps: Threads, model: str, text: str, answer: str, threads: Threads
) -> None:
    async with (
        run_upstream(responder(http_response({"text": answer}))) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(chat(model, text))
    assert response.completion().choice.text == answer
    assert json.loads(server.requests[0].data)["p"] == text
    assert steps == threads


async def test_large_responses_of_several_calls_are_combined() -> None:
    vector = [0.5] * (MAX_INLINE // 3)
    async with (
        run_upstream(responder(http_response({"e": vector}))) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request({"model": "vectors", "input": ["a", "b", "c"]}, path="/v1/embeddings")
    assert [item["embedding"] for item in json.loads(response.body)["data"]] == [vector] * 3


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (json.dumps(chat("m", LARGE)).encode()[:-1], "invalid_json"),
        (b'{"model":"m","x":' + b"[" * 200_000, "invalid_json"),
        (b'{"model":"m","x":' + b"[" * 300_000 + b"]" * 300_000 + b"}", "invalid_json"),
        (json.dumps(chat("m", "hi", x=[0] * 1_000_001)).encode(), "too_many_values"),
        (json.dumps(chat("unknown", LARGE)).encode(), "model_not_found"),
        (json.dumps(chat("m", LARGE, n="1")).encode(), "invalid_type"),
    ],
)
async def test_a_large_body_is_refused_with_the_errors_of_a_small_one(body: bytes, code: str) -> None:
    async with (
        run_upstream(responder(http_response({"text": "hello"}))) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(body)
    assert json.loads(response.body)["error"]["code"] == code
    assert not server.requests


async def test_a_long_conversation_keeps_its_session() -> None:
    turns = [{"role": "user", "content": LARGE}]
    async with (
        run_upstream(responder(http_response({"text": "hello", "id": "s1"}))) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        for _ in range(3):
            response = await bridge.request({"model": "session", "messages": turns})
            assert response.completion().choice.text == "hello"
            turns += [{"role": "assistant", "content": "hello"}, {"role": "user", "content": LARGE}]
    assert [request.path for request in server.requests] == ["/open", "/", "/", "/"]
    assert [json.loads(request.data)["s"] for request in server.requests[1:]] == ["s1"] * 3


async def test_many_values_arrive_unchanged() -> None:
    values = [{"a": number} for number in range(150_000)]
    async with (
        run_upstream(responder(http_response({"text": "hello"}))) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        assert (await bridge.request(chat("m", "hi", x=values))).status == 200
    assert json.loads(server.requests[0].data)["x"] == values


async def test_a_client_that_leaves_meanwhile_gets_nothing_sent_upstream() -> None:
    body = chat("m", "hi", x=[{"a": number} for number in range(200_000)])
    async with (
        run_upstream(responder(http_response({"text": "hello"}))) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        async with bridge.connect() as client:
            await client.send(body)
        assert (await bridge.request(HELLO)).status == 200
    assert len(server.requests) == 1


async def test_a_cancelled_step_ends_before_its_request_does() -> None:
    threads = ThreadPool()
    begun, ended, release = threading.Event(), threading.Event(), threading.Event()

    def step() -> None:
        begun.set()
        release.wait(20)
        ended.set()

    task = asyncio.ensure_future(threads.run(step))
    await asyncio.to_thread(begun.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    threads.close()
