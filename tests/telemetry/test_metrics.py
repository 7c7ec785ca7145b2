"""The endpoints /metrics, /healthz and /readyz of the admin port."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, http_response, responder, run_upstream
from tests.running_bridge import run_bridge, sum_samples, wait_until
from tests.upstream.formats import DONE, completion, event, frame, is_stream, stream_response

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


async def with_usage(peer: Connection) -> None:
    """Respond with usage, streaming on request, or with 503 to a message that contains `fail`."""
    while (request := await peer.request()) is not None:
        if b"fail" in request.data:
            await peer.send(http_response({"error": "no"}, 503))
        elif is_stream(request):
            usage = event({"choices": [], **USAGE})
            await peer.send(stream_response(frame("hel"), frame("lo"), usage, DONE))
        else:
            await peer.send(http_response({**completion("hello"), **USAGE}))


def chat_body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


async def test_every_metric_exists_at_the_start() -> None:
    async with run_bridge(ROUTES, {"UPSTREAM": "http://127.0.0.1:1"}) as bridge:
        response = await bridge.get_admin("/metrics")
        assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = {family.name: family for family in text_string_to_metric_families(response.body.decode())}
        assert {name: families[name].type for name in NAMES if name in families} == NAMES
        assert all(family.documentation for family in families.values())


async def test_requests_are_counted() -> None:
    async with run_upstream(with_usage) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for body in (
            chat_body("a"),
            chat_body("b"),
            chat_body("c", stream=True),
            chat_body("fail"),
            chat_body("fail", stream=True),
        ):
            await bridge.request(body)
        await bridge.request({"model": "m", "prompt": "a"}, path="/v1/completions")
        await bridge.request(chat_body("d", model="glob-7", temperature=0.5, x_secret=2, x_other=3))
        await bridge.wait_for_count(0, "bridge_requests_in_progress")
        samples = await bridge.samples()

    def count(name: str, **labels: str) -> float:
        return sum_samples(samples, name, **labels)

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
    assert count(f"{tokens}_count", route="globbed") == 0, "token counts are not invented"
    for sample in samples:
        if sample.name.startswith("gen_ai_"):
            assert set(sample.labels) >= GEN_AI


async def test_an_enormous_token_count_does_not_break_the_metrics() -> None:
    usage = b'{"prompt_tokens": %s, "completion_tokens": "%s", "total_tokens": 1e300}' % (
        b"9" * 400,
        b"8" * 400,
    )
    whole = json.dumps(completion("hello")).encode().removesuffix(b"}") + b', "usage": %s}' % usage
    chunk = b'data: {"choices": [], "usage": %s}\n\n' % usage

    async def behave(peer: Connection) -> None:
        while (request := await peer.request()) is not None:
            if is_stream(request):
                await peer.send(stream_response(frame("hello"), chunk, DONE))
            else:
                await peer.send(http_response(whole))

    async with run_upstream(behave) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for stream in (False, True):
            response = await bridge.request(
                chat_body("a", stream=stream, stream_options={"include_usage": True})
            )
            assert response.status == 200
            assert b"9" * 17 not in response.body, "counts for clients are bounded too"
        await bridge.wait_for_count(0, "bridge_requests_in_progress")
        samples = await bridge.samples()
    assert sum_samples(samples, "bridge_requests_total", code="200") == 2
    for kind in ("input", "output"):
        tokens = sum_samples(samples, "gen_ai_client_token_usage_sum", gen_ai_token_type=kind)
        assert tokens == 2 * 2**53


async def test_label_values_never_come_from_clients() -> None:
    async with run_upstream(with_usage) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        for number in range(20):
            word = f"word{number}"
            await bridge.request(chat_body("a", model=word))
            await bridge.request(chat_body("a", model=f"glob-{word}", **{word: 1, f"x{word}": 2}))
            await bridge.request(path=f"/v1/{word}", method="PROPFIND")
            await bridge.request({word: 1}, headers={"X-Request-Id": word, "User-Agent": word, "Host": word})
            await bridge.request(method="GET", path=f"/v1/models/{word}")
        exposition = (await bridge.get_admin("/metrics")).body
        samples = await bridge.samples()
    assert b"word" not in exposition
    assert sum_samples(samples, "bridge_requests_total") == 100
    assert sum_samples(samples, "bridge_requests_total", route="", endpoint="", code="404") == 40
    assert sum_samples(samples, "bridge_requests_total", route="", endpoint="chat", code="404") == 20
    assert sum_samples(samples, "bridge_requests_total", route="", endpoint="chat", code="400") == 20
    assert sum_samples(samples, "bridge_dropped_parameters_total", parameter="other") == 40
    models = {sample.labels.get("gen_ai_request_model") for sample in samples} - {None}
    assert models == {"glob-*"}


async def test_requests_in_progress_are_counted() -> None:
    release = asyncio.Event()

    async def waits(peer: Connection) -> None:
        while await peer.request():
            await release.wait()
            await peer.send(http_response(completion("hello")))

    async with run_upstream(waits) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        pending = [asyncio.ensure_future(bridge.request(HELLO)) for _ in range(3)]
        await server.wait_until(lambda server: len(server.requests) == 3)
        assert await bridge.count("bridge_requests_in_progress", route="exact") == 3
        assert await bridge.count("bridge_requests_total") == 0
        release.set()
        assert [response.status for response in await asyncio.gather(*pending)] == [200] * 3
        await bridge.wait_for_count(0, "bridge_requests_in_progress", route="exact")
        assert await bridge.count("bridge_requests_total") == 3


async def test_refused_requests_are_counted_without_a_route() -> None:
    async with run_bridge(ROUTES, {"UPSTREAM": "http://127.0.0.1:1"}) as bridge:
        for body, method in (({}, "POST"), (None, "GET"), (b"noise", "POST")):
            await bridge.request(body, method=method)
        samples = await bridge.samples()
    assert sum_samples(samples, "bridge_requests_total", route="", endpoint="chat", code="400") == 2
    assert sum_samples(samples, "bridge_requests_total", route="", endpoint="chat", code="405") == 1
    assert sum_samples(samples, "gen_ai_server_request_duration_seconds_count") == 0


async def test_healthz_and_readyz_respond() -> None:
    async with run_bridge(ROUTES, {"UPSTREAM": "http://127.0.0.1:1"}) as bridge:
        for path, body in (("/healthz", b"ok\n"), ("/readyz", b"ready: 2 routes\n")):
            response = await bridge.get_admin(path)
            assert (response.status, response.body) == (200, body)
        assert (await bridge.get_admin("/nowhere")).status == 404


async def test_a_draining_bridge_is_healthy_but_not_ready() -> None:
    release = asyncio.Event()

    async def waits(peer: Connection) -> None:
        await peer.request()
        await release.wait()
        await peer.send(http_response(completion("hello")))

    async with run_upstream(waits) as server:
        block = run_bridge(ROUTES, {"UPSTREAM": server.url})
        bridge = await block.__aenter__()
        pending = asyncio.ensure_future(bridge.request(HELLO))
        await server.wait_until(lambda server: len(server.requests) == 1)

        async def draining() -> bool:
            return (await bridge.get_admin("/readyz")).status != 200

        async def check_while_draining() -> None:
            await wait_until(draining)
            response = await bridge.get_admin("/readyz")
            assert (response.status, response.body) == (503, b"draining\n")
            assert (await bridge.get_admin("/healthz")).status == 200
            assert await bridge.count("bridge_requests_in_progress") == 1
            release.set()

        checking = asyncio.ensure_future(check_while_draining())
        await block.__aexit__(None, None, None)
        await checking
        assert (await pending).completion().choice.text == "hello"


async def test_requests_for_models_are_not_counted() -> None:
    async with (
        run_upstream(responder(b"")) as server,
        run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        assert await bridge.count("bridge_requests_total") == 0
        for path in ("/v1/models", "/v1/models/m"):
            assert (await bridge.request(method="GET", path=path)).status == 200
        assert await bridge.count("bridge_requests_in_progress") == 0
