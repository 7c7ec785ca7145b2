"""Many calls for one request: so many at once and no more; and what metrics are told of them."""

from __future__ import annotations

import asyncio

from tests.raw_client import HELLO, run_bridge
from tests.raw_upstream import Connection, http_response, run_upstream
from tests.upstream.formats import completion

AT_ONCE = 8  # as docs/language.md says
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
MANY = {"model": "m", "input": [f"text {number}" for number in range(3 * AT_ONCE)]}
PATH = "/v1/embeddings"


async def test_eight_calls_are_made_at_once_and_no_more() -> None:
    waiting, most = 0, 0
    together = asyncio.Barrier(AT_ONCE)  # nobody is answered until so many wait

    async def waits(peer: Connection) -> None:
        nonlocal waiting, most
        while await peer.request():
            waiting += 1
            most = max(most, waiting)
            await together.wait()
            waiting -= 1
            await peer.send(VECTOR)

    async with run_upstream(waits) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(MANY, path=PATH)
        assert answer.status == 200
        assert [item["index"] for item in answer.json["data"]] == list(range(3 * AT_ONCE))
        assert answer.json["usage"] == {"prompt_tokens": 48, "total_tokens": 48}
        assert most == AT_ONCE
        assert sorted(request.body["input"] for request in server.requests) == sorted(MANY["input"])
        tokens = "gen_ai_client_token_usage_sum"
        assert await bridge.count(tokens, gen_ai_operation_name="embeddings", gen_ai_token_type="input") == 48
        assert await bridge.count("gen_ai_client_token_usage_count", gen_ai_token_type="output") == 0
        assert await bridge.count("bridge_estimated_tokens_total") == 0


async def test_behind_a_failure_no_more_calls_are_made() -> None:
    async def fails(peer: Connection) -> None:
        while await peer.request():
            if peer.number > 1:
                await peer.wait_closed()
                return
            await peer.send(http_response({"error": {"message": "full"}}, 429))

    async with run_upstream(fails) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(MANY, path=PATH)
        assert (answer.status, answer.error()["message"]) == (429, "full")
        await server.wait_until(lambda server: server.closed == server.connections - 1)
        assert len(server.requests) <= AT_ONCE


async def test_estimates_are_kept_apart_from_true_counts() -> None:
    async def speaks(peer: Connection) -> None:
        while (request := await peer.request()) is not None:
            counted = {"usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}}
            await peer.send(
                http_response({**completion("four"), **(counted if b"count" in request.data else {})})
            )

    async with run_upstream(speaks) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        asked = {**HELLO, "model": "guessed"}
        guessed = await bridge.request(asked)
        asked["messages"] = [{"role": "user", "content": "count"}]
        told = await bridge.request(asked)
        assert (guessed.json["usage"]["estimated"], "estimated" in told.json["usage"]) == (True, False)
        for kind, name, true in (("input", "prompt_tokens", 5), ("output", "completion_tokens", 1)):
            reckoned = guessed.json["usage"][name]
            assert reckoned > 0
            labels = {"route": "counted", "gen_ai_token_type": kind}
            assert await bridge.count("bridge_estimated_tokens_total", **labels) == reckoned
            assert await bridge.count("gen_ai_client_token_usage_sum", **labels) == true
            assert await bridge.count("gen_ai_client_token_usage_count", **labels) == 1
