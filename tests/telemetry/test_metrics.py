"""/metrics, /healthz and /readyz, as those who run the bridge read them."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.raw_client import HELLO, bridge, counted, until
from tests.raw_upstream import Peer, answering, upstream, whole
from tests.upstream.formats import DONE, completion, event, frame, is_stream, streamed

ROUTES = """
server: {drain: 5s}
routes:
  - {name: exact, models: m, upstream: "${UPSTREAM}"}
  - name: globbed
    models: "glob-*"
    upstream: "${UPSTREAM}"
    request: {body: {prompt: $.prompt}}
    response: $.text
"""

NAMES = {
    "bridge_requests": "counter",
    "bridge_requests_in_progress": "gauge",
    "bridge_upstream_errors": "counter",
    "bridge_client_disconnects": "counter",
    "bridge_dropped_parameters": "counter",
    "bridge_estimated_tokens": "counter",
    "bridge_reloads": "counter",
    "gen_ai_server_request_duration_seconds": "histogram",
    "gen_ai_server_time_to_first_token_seconds": "histogram",
    "gen_ai_server_time_per_output_token_seconds": "histogram",
    "gen_ai_client_token_usage": "histogram",
}
GEN_AI = {"gen_ai_operation_name", "gen_ai_request_model", "error_type", "route"}
USAGE = {"usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}}


async def counting(peer: Peer) -> None:
    """Answers as it is asked to, with token counts; fails for who says so."""
    while (request := await peer.request()) is not None:
        if b"fail" in request.data:
            await peer.send(whole({"error": "no"}, 503))
        elif is_stream(request):
            usage = event({"choices": [], **USAGE})
            await peer.send(streamed(frame("hel"), frame("lo"), usage, DONE))
        else:
            await peer.send(whole({**completion("hello"), **USAGE}))


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


async def test_every_name_is_there_from_the_start() -> None:
    async with bridge(ROUTES, {"UPSTREAM": "http://127.0.0.1:1"}) as running:
        answer = await running.see("/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
        assert {name: families[name].type for name in NAMES if name in families} == NAMES
        assert all(family.documentation for family in families.values())


async def test_a_known_series_of_requests() -> None:
    async with upstream(counting) as server, bridge(ROUTES, {"UPSTREAM": server.url}) as running:
        for body in (said("a"), said("b"), said("c", stream=True), said("fail"), said("fail", stream=True)):
            await running.ask(body)
        await running.ask({"model": "m", "prompt": "a"}, path="/v1/completions")
        await running.ask(said("d", model="glob-7", temperature=1, x_secret=2, x_other=3))
        await running.until_counted(0, "bridge_requests_in_progress")
        samples = await running.samples()

    def count(name: str, **labels: str) -> float:
        return counted(samples, name, **labels)

    assert count("bridge_requests_total") == 7
    assert count("bridge_requests_total", route="exact", endpoint="chat", code="200") == 3
    assert count("bridge_requests_total", route="exact", endpoint="chat", code="503") == 2
    assert count("bridge_requests_total", route="exact", endpoint="completions", code="200") == 1
    assert count("bridge_requests_total", route="globbed", endpoint="chat", code="200") == 1
    assert count("bridge_upstream_errors_total") == 2
    assert count("bridge_upstream_errors_total", route="exact", kind="refused") == 2
    assert count("bridge_dropped_parameters_total") == 3
    assert count("bridge_dropped_parameters_total", route="globbed", parameter="temperature") == 1
    assert count("bridge_dropped_parameters_total", route="globbed", parameter="other") == 2

    duration = "gen_ai_server_request_duration_seconds"
    chat = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "m", "route": "exact"}
    assert count(f"{duration}_count") == 7
    assert count(f"{duration}_count", error_type="", **chat) == 3
    assert count(f"{duration}_count", error_type="refused", **chat) == 2
    assert count(f"{duration}_count", gen_ai_operation_name="text_completion") == 1
    assert count(f"{duration}_count", gen_ai_request_model="glob-*", route="globbed") == 1
    assert count(f"{duration}_bucket", le="+Inf") == 7
    assert count(f"{duration}_sum") > 0

    assert count("gen_ai_server_time_to_first_token_seconds_count") == 1
    assert count("gen_ai_server_time_to_first_token_seconds_count", error_type="", **chat) == 1
    assert count("gen_ai_server_time_per_output_token_seconds_count", error_type="", **chat) == 1
    tokens = "gen_ai_client_token_usage"
    assert count(f"{tokens}_sum", gen_ai_token_type="input", **chat) == 21
    assert count(f"{tokens}_sum", gen_ai_token_type="output", **chat) == 15
    assert count(f"{tokens}_count", gen_ai_operation_name="text_completion", gen_ai_token_type="input") == 1
    assert count(f"{tokens}_count", route="globbed") == 0, "no counts are made up"
    for sample in samples:
        if sample.name.startswith("gen_ai_"):
            assert set(sample.labels) >= GEN_AI


async def test_no_label_comes_from_a_client() -> None:
    async with upstream(counting) as server, bridge(ROUTES, {"UPSTREAM": server.url}) as running:
        for number in range(20):
            word = f"word{number}"
            await running.ask(said("a", model=word))
            await running.ask(said("a", model=f"glob-{word}", **{word: 1, f"x{word}": 2}))
            await running.ask(path=f"/v1/{word}", method="PROPFIND")
            await running.ask({word: 1}, headers={"X-Request-Id": word, "User-Agent": word, "Host": word})
            await running.ask(method="GET", path=f"/v1/models/{word}")
        exposition = (await running.see("/metrics")).body
        samples = await running.samples()
    assert b"word" not in exposition
    assert counted(samples, "bridge_requests_total") == 100
    assert counted(samples, "bridge_requests_total", route="", endpoint="", code="404") == 40
    assert counted(samples, "bridge_requests_total", route="", endpoint="chat", code="404") == 20
    assert counted(samples, "bridge_requests_total", route="", endpoint="chat", code="400") == 20
    assert counted(samples, "bridge_dropped_parameters_total", parameter="other") == 40
    models = {sample.labels.get("gen_ai_request_model") for sample in samples} - {None}
    assert models == {"glob-*"}


async def test_what_is_in_progress_is_counted() -> None:
    go_on = asyncio.Event()

    async def waits(peer: Peer) -> None:
        while await peer.request():
            await go_on.wait()
            await peer.send(whole(completion("hello")))

    async with upstream(waits) as server, bridge(ROUTES, {"UPSTREAM": server.url}) as running:
        asked = [asyncio.ensure_future(running.ask(HELLO)) for _ in range(3)]
        await server.until(lambda server: len(server.requests) == 3)
        assert await running.count("bridge_requests_in_progress", route="exact") == 3
        assert await running.count("bridge_requests_total") == 0
        go_on.set()
        assert [answer.status for answer in await asyncio.gather(*asked)] == [200] * 3
        await running.until_counted(0, "bridge_requests_in_progress", route="exact")
        assert await running.count("bridge_requests_total") == 3


async def test_a_refused_request_is_counted_without_a_route() -> None:
    async with bridge(ROUTES, {"UPSTREAM": "http://127.0.0.1:1"}) as running:
        for body, method in (({}, "POST"), (None, "GET"), (b"noise", "POST")):
            await running.ask(body, method=method)
        samples = await running.samples()
    assert counted(samples, "bridge_requests_total", route="", endpoint="chat", code="400") == 2
    assert counted(samples, "bridge_requests_total", route="", endpoint="chat", code="405") == 1
    assert counted(samples, "gen_ai_server_request_duration_seconds_count") == 0


async def test_health() -> None:
    async with bridge(ROUTES, {"UPSTREAM": "http://127.0.0.1:1"}) as running:
        for path, body in (("/healthz", b"ok\n"), ("/readyz", b"ready: 2 routes\n")):
            answer = await running.see(path)
            assert (answer.status, answer.body) == (200, body)
        assert (await running.see("/nowhere")).status == 404


async def test_while_it_drains_it_is_alive_but_not_ready() -> None:
    go_on = asyncio.Event()

    async def waits(peer: Peer) -> None:
        await peer.request()
        await go_on.wait()
        await peer.send(whole(completion("hello")))

    async with upstream(waits) as server:
        block = bridge(ROUTES, {"UPSTREAM": server.url})
        running = await block.__aenter__()
        asked = asyncio.ensure_future(running.ask(HELLO))
        await server.until(lambda server: len(server.requests) == 1)

        async def draining() -> bool:
            return (await running.see("/readyz")).status != 200

        async def look() -> None:
            await until(draining)
            answer = await running.see("/readyz")
            assert (answer.status, answer.body) == (503, b"draining\n")
            assert (await running.see("/healthz")).status == 200
            assert await running.count("bridge_requests_in_progress") == 1
            go_on.set()

        looking = asyncio.ensure_future(look())
        await block.__aexit__(None, None, None)
        await looking
        assert (await asked).completion().said.text == "hello"


async def test_without_requests_nothing_is_counted() -> None:
    async with upstream(answering(b"")) as server, bridge(ROUTES, {"UPSTREAM": server.url}) as running:
        assert await running.count("bridge_requests_total") == 0
        for path in ("/v1/models", "/v1/models/m"):
            assert (await running.ask(method="GET", path=path)).status == 200
        assert await running.count("bridge_requests_in_progress") == 0
