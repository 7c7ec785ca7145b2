"""Several upstream calls for one request: concurrency, failures and metrics."""

from __future__ import annotations

import asyncio

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, http_response, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import completion, stream_head

MAX_CONCURRENT = 8  # documented in docs/language.md
ROUTES = """
routes:
  - name: vectors
    models: m
    serves: embeddings
    upstream: "${UPSTREAM}"
    emulate: {batch: 1}
  - name: counted
    models: guessed
    upstream: "${UPSTREAM}"
    serves: [chat, embeddings]
    emulate: {usage: estimate}
"""
VECTOR = http_response({"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 2, "total_tokens": 2}})
MANY = {"model": "m", "input": [f"text {number}" for number in range(3 * MAX_CONCURRENT)]}
PATH = "/v1/embeddings"


async def test_up_to_eight_calls_run_concurrently() -> None:
    concurrent, highest = 0, 0
    together = asyncio.Barrier(MAX_CONCURRENT)  # no call is answered before this number of calls waits

    async def respond_together(peer: Connection) -> None:
        nonlocal concurrent, highest
        while await peer.request():
            concurrent += 1
            highest = max(highest, concurrent)
            await together.wait()
            concurrent -= 1
            await peer.send(VECTOR)

    async with (
        run_upstream(respond_together) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(MANY, path=PATH)
        assert response.status == 200
        assert [item["index"] for item in response.json["data"]] == list(range(3 * MAX_CONCURRENT))
        assert response.json["usage"] == {"prompt_tokens": 48, "total_tokens": 48}
        assert highest == MAX_CONCURRENT
        assert sorted(request.body["input"] for request in server.requests) == sorted(MANY["input"])
        tokens = "gen_ai_client_token_usage_sum"
        assert await bridge.count(tokens, gen_ai_operation_name="embeddings", gen_ai_token_type="input") == 48
        assert await bridge.count("gen_ai_client_token_usage_count", gen_ai_token_type="output") == 0
        assert await bridge.count("bridge_estimated_tokens_total") == 0


async def test_no_calls_are_made_after_a_failure() -> None:
    async def respond_once(peer: Connection) -> None:
        while await peer.request():
            if peer.number > 1:
                await peer.wait_closed()
                return
            await peer.send(http_response({"error": {"message": "full"}}, 429))

    async with run_upstream(respond_once) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(MANY, path=PATH)
        assert (response.status, response.error()["message"]) == (429, "full")
        await server.wait_until(lambda server: server.closed == server.connections - 1)
        assert len(server.requests) <= MAX_CONCURRENT


async def test_estimates_and_upstream_counts_are_separate_metrics() -> None:
    async def respond(peer: Connection) -> None:
        while (request := await peer.request()) is not None:
            usage = {"usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}}
            await peer.send(
                http_response({**completion("four"), **(usage if b"count" in request.data else {})})
            )

    async with run_upstream(respond) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        body = {**HELLO, "model": "guessed"}
        estimated = await bridge.request(body)
        body["messages"] = [{"role": "user", "content": "count"}]
        measured = await bridge.request(body)
        assert (estimated.json["usage"]["estimated"], "estimated" in measured.json["usage"]) == (True, False)
        for kind, name, expected in (("input", "prompt_tokens", 5), ("output", "completion_tokens", 1)):
            estimate = estimated.json["usage"][name]
            assert estimate > 0
            labels = {"route": "counted", "gen_ai_token_type": kind}
            assert await bridge.count("bridge_estimated_tokens_total", **labels) == estimate
            assert await bridge.count("gen_ai_client_token_usage_sum", **labels) == expected
            assert await bridge.count("gen_ai_client_token_usage_count", **labels) == 1


async def test_a_prompt_that_is_rejected_late_ends_a_stream_with_an_error() -> None:
    """Calls are made while others run, so a template may reject a prompt after the stream has begun."""
    template = "{% if messages[0].content == 'bad' %}{{ raise_exception('no') }}{% endif %}x"
    routes = f"""
routes:
  - models: m
    serves: completions
    upstream: "${{UPSTREAM}}"
    prompt: {{template: "{template}"}}
    request: {{body: {{p: $.prompt, q: "{template}"}}}}
    response: $.t
    stream: {{text: $.t}}
"""
    head = stream_head()
    text = chunk(b'data: {"t":"hi"}\n\n') + chunk(b"")

    async def respond(peer: Connection) -> None:
        while await peer.request():
            await peer.send(head + text)

    body = {"model": "m", "prompt": ["good"] * 20 + ["bad"], "stream": True}
    async with run_upstream(respond) as server, run_bridge(routes, {"UPSTREAM": server.url}) as bridge:
        response = await bridge.request(body, path="/v1/completions")
        assert response.status == 200
        last = [event for event in response.body.split(b"\n\n") if event][-1]
        assert b'"error"' in last
        assert b'"no"' in last
