"""Named keys: models, rates, concurrency, what they leave in metrics and logs, and reloads."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.errors import RequestError
from bridge.core.rate_bucket import Rate
from bridge.proxy.concurrency import WorkerShare
from bridge.routes.rules.server_settings import ClientKeySpec
from bridge.server.client_limits import ClientKeyLimits, WorkerLimits
from bridge.server.shared_rates import SharedRates
from tests.bridge_process import FREE_PORTS, run_process
from tests.raw_client import HELLO, Response
from tests.raw_upstream import Connection, UpstreamServer, chunk, http_response, responder, run_upstream
from tests.running_bridge import RunningBridge, run_bridge
from tests.telemetry.captured_log import captured_log
from tests.upstream.formats import DONE, completion, event, frame, stream_head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ROUTES = """
routes:
  - {name: glm, models: [glm-5, glm-air, "glm-v*"], upstream: "${UPSTREAM}"}
  - {name: other, models: other, upstream: "${UPSTREAM}"}
"""
USAGE = {"prompt_tokens": 100, "completion_tokens": 400, "total_tokens": 500}
UNCOUNTED = completion("hello " * 40)
COUNTED = completion("hello") | {"usage": USAGE}
STREAMED = b"".join(chunk(frame("hello ")) for _ in range(40))
END = chunk(DONE) + chunk(b"")


def server_keys(*keys: str) -> str:
    return f"server: {{keys: [{', '.join(keys)}]}}\n{ROUTES}"


@asynccontextmanager
async def running(*keys: str) -> AsyncIterator[tuple[RunningBridge, UpstreamServer]]:
    async with (
        run_upstream(responder(http_response(COUNTED))) as server,
        run_bridge(server_keys(*keys), {"UPSTREAM": server.url}) as bridge,
    ):
        yield bridge, server


async def ask(bridge: RunningBridge, key: str, model: str = "glm-5", **more: Any) -> Response:
    """Send a chat with a key."""
    return await bridge.request({**HELLO, "model": model, **more}, headers={"Authorization": f"Bearer {key}"})


async def get(bridge: RunningBridge, key: str, path: str) -> Response:
    return await bridge.request(method="GET", path=path, headers={"Authorization": f"Bearer {key}"})


def rates(response: Response, of: str) -> list[str | None]:
    """Return the limit and what remains."""
    return [response.headers.get(f"x-ratelimit-{name}-{of}") for name in ("limit", "remaining")]


def reset(response: Response, of: str) -> int:
    """Return the seconds until everything is available again."""
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(\d+)s", response.headers[f"x-ratelimit-reset-{of}"])
    assert parts is not None
    hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds


def within_a_minute(seconds: int, before: int) -> bool:
    """Return whether a time is the expected one, less what the test has taken so far."""
    return before - 60 < seconds <= before


async def test_a_key_sees_and_reaches_only_its_models() -> None:
    async with running('{name: ci, key: k1, models: ["glm-[5v]*"]}', "k2") as (bridge, server):
        listed = [model["id"] for model in (await get(bridge, "k1", "/v1/models")).json["data"]]
        assert listed == ["glm-5"]
        everything = [model["id"] for model in (await get(bridge, "k2", "/v1/models")).json["data"]]
        assert everything == ["glm-5", "glm-air", "other"]
        assert (await get(bridge, "k1", "/v1/models/glm-5")).status == 200
        assert (await get(bridge, "k1", "/v1/models/glm-air")).status == 404
        for model in ("glm-5", "glm-v2"):
            assert (await ask(bridge, "k1", model)).status == 200
        for model in ("glm-air", "other", "no-such-model"):
            response = await ask(bridge, "k1", model)
            error = response.error()
            assert (response.status, error["code"], error["param"]) == (403, "model_not_found", "model")
            assert error["message"] == f"the key `ci` does not have access to the model `{model}`"
            assert (await ask(bridge, "k2", model)).status == (404 if model.startswith("no") else 200)
        assert len(server.requests) == 4


async def test_a_key_of_any_model_may_be_sent_as_before() -> None:
    async with running("{key: k1, name: ci}") as (bridge, _):
        for authorization, status in (
            ("Bearer k1", 200), ("bearer  k1 ", 200), ("Bearer k2", 401), ("Bearer ", 401), ("Bearer", 401),
            ("", 401), ("k1", 401), ("Basic k1", 401), ("Bearer k1 k1", 401), ("Bearer \u00e9", 401),
        ):  # fmt: skip
            response = await bridge.request(
                {**HELLO, "model": "glm-5"}, headers={"Authorization": authorization}
            )
            assert response.status == status, authorization


async def test_requests_over_the_rate_are_429() -> None:
    async with running("{name: ci, key: k1, requests: 2/h}", "k2") as (bridge, server):
        first = await ask(bridge, "k1")
        assert (first.status, rates(first, "requests")) == (200, ["2", "1"])
        assert within_a_minute(reset(first, "requests"), 1800)
        second = await ask(bridge, "k1", "no-such-model")  # counts too, as OpenAI's failed requests do
        assert (second.status, rates(second, "requests")) == (404, ["2", "0"])
        third = await ask(bridge, "k1")
        error = third.error()
        assert third.status == 429
        assert (error["code"], error["type"]) == ("rate_limit_exceeded", "requests")
        assert "2 requests in 3600 s" in error["message"]
        assert within_a_minute(int(third.headers["retry-after"]), 1800)
        assert rates(third, "requests") == ["2", "0"]
        assert within_a_minute(reset(third, "requests"), 3600)
        assert rates(third, "tokens") == [None, None]
        models = await get(bridge, "k1", "/v1/models")  # not counted
        assert (models.status, rates(models, "requests")) == (200, ["2", "0"])
        other = await ask(bridge, "k2")
        assert (other.status, rates(other, "requests")) == (200, [None, None])
        assert len(server.requests) == 2


async def test_counts_of_tokens_are_requests_too() -> None:
    async with running("{name: ci, key: k1, requests: 1/h}") as (bridge, _):
        options: dict[str, Any] = {
            "path": "/v1/messages/count_tokens", "headers": {"Authorization": "Bearer k1"},
        }  # fmt: skip
        body = {**HELLO, "model": "glm-5", "max_tokens": 5}
        first = await bridge.request(body, **options)
        assert (first.status, rates(first, "requests")[1]) == (200, "0")
        assert (await bridge.request(body, **options)).status == 429


async def test_a_rate_fills_up_again() -> None:
    async with running("{name: ci, key: k1, requests: 10/s}") as (bridge, _):
        statuses = {(await ask(bridge, "k1")).status for _ in range(40)}
        assert statuses == {200, 429}
        await asyncio.sleep(0.2)
        assert (await ask(bridge, "k1")).status == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_are_charged_after_the_response(*, stream: bool) -> None:
    counts = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    streamed = stream_head() + STREAMED + chunk(event(counts | {"usage": USAGE})) + END
    answer = responder(streamed if stream else http_response(COUNTED))
    text = server_keys("{name: ci, key: k1, tokens: 400/h}")
    async with run_upstream(answer) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        first = await ask(bridge, "k1", stream=stream)
        assert (first.status, rates(first, "tokens")) == (200, ["400", "400"])
        second = await ask(bridge, "k1", stream=stream)
        assert second.status == 429
        assert rates(second, "tokens") == ["400", "0"]
        assert within_a_minute(reset(second, "tokens"), 4500)
        # Until the debt of 100 tokens is paid, and one token is left.
        assert within_a_minute(int(second.headers["retry-after"]), 909)
        assert "400 tokens in 3600 s" in second.error()["message"]
        await bridge.wait_for_count(100, "bridge_key_tokens_total", key="ci", gen_ai_token_type="input")
        await bridge.wait_for_count(400, "bridge_key_tokens_total", key="ci", gen_ai_token_type="output")


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_that_the_upstream_does_not_count_are_estimated(*, stream: bool) -> None:
    answer = responder(stream_head() + STREAMED + END if stream else http_response(UNCOUNTED))
    text = server_keys("{name: ci, key: k1, tokens: 10k/h}", "{name: free, key: k2}")
    async with run_upstream(answer) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        assert (await ask(bridge, "k1", stream=stream)).status == 200
        await bridge.wait_for_count(60, "bridge_key_tokens_total", key="ci", gen_ai_token_type="output")
        second = await ask(bridge, "k1", stream=stream)
        _, remaining = rates(second, "tokens")
        assert remaining is not None
        assert 9900 < int(remaining) < 9940  # 60 tokens of the response, and those of the prompt
        assert (await ask(bridge, "k2", stream=stream)).status == 200
        assert await bridge.count("bridge_key_tokens_total", key="free") == 0


async def test_the_output_before_a_disconnect_is_charged() -> None:
    async def endless(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + STREAMED)
        await peer.wait_closed()

    text = server_keys("{name: ci, key: k1, tokens: 10k/h}")
    async with run_upstream(endless) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send(
                {**HELLO, "model": "glm-5", "stream": True}, headers={"Authorization": "Bearer k1"}
            )
            await client.reader.readuntil(b"hello")
        await bridge.wait_for_count(60, "bridge_key_tokens_total", key="ci", gen_ai_token_type="output")


async def test_requests_at_once_are_bounded() -> None:
    release = asyncio.Event()

    async def slow(peer: Connection) -> None:
        while await peer.request():
            await release.wait()
            await peer.send(http_response(COUNTED))

    text = server_keys("{name: ci, key: k1, concurrency: 2}", "k2")
    async with run_upstream(slow) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect() as leaving:
            await leaving.send({**HELLO, "model": "glm-5"}, headers={"Authorization": "Bearer k1"})
            first = asyncio.ensure_future(ask(bridge, "k1"))
            await server.wait_until(lambda server: len(server.requests) == 2)
            third = await ask(bridge, "k1")
            assert (third.status, third.error()["code"]) == (429, "rate_limit_exceeded")
            assert third.headers["retry-after"] == "1"
            other = asyncio.ensure_future(ask(bridge, "k2"))
            await server.wait_until(lambda server: len(server.requests) == 3)
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
        again = asyncio.ensure_future(ask(bridge, "k1"))
        await server.wait_until(lambda server: len(server.requests) == 4)
        release.set()
        assert [(await task).status for task in (first, other, again)] == [200, 200, 200]
        assert [(await ask(bridge, "k1")).status for _ in range(3)] == [200, 200, 200]


async def test_the_name_is_in_metrics_and_in_log_lines() -> None:
    keys = ("{name: ci, key: k1, models: glm-5}", "{key: k2}", "k3")
    with captured_log() as log:
        async with running(*keys) as (bridge, _):
            for key in ("k1", "k2", "k3", "k4"):
                await ask(bridge, key)
            await ask(bridge, "k1", "other")
            await bridge.wait_for_count(3, "bridge_requests_total", route="glm")
            samples = [each for each in await bridge.samples() if each.name == "bridge_key_requests_total"]
        everything = log.all
    assert [(each.labels, each.value) for each in samples] == [
        ({"key": "ci", "code": "200"}, 1.0),
        ({"key": "ci", "code": "403"}, 1.0),
    ]
    lines = [line for line in everything if line["event"] in ("request", "refused")]
    assert [(line["status"], line.get("key"), line["client"]) for line in lines] == [
        (200, "ci", "127.0.0.1"), (200, None, "127.0.0.1"), (200, None, "127.0.0.1"),
        (401, None, "127.0.0.1"), (403, "ci", "127.0.0.1"),
    ]  # fmt: skip
    assert not [line for line in everything if "k1" in str(line) or "k2" in str(line)]


async def test_a_reload_keeps_what_is_left_of_unchanged_rates(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    before = server_keys(
        "{name: same, key: k1, requests: 2/h}", "{name: renamed, key: k2, requests: 2/h}",
        "{name: more, key: k3, requests: 2/h}", "{name: gone, key: k4}",
    )  # fmt: skip
    after = server_keys(
        "{name: same, key: k1, requests: 2/h}", "{name: new, key: k2, requests: 2/h, models: glm-5}",
        "{name: more, key: k3, requests: 3/h}", "{name: added, key: k5, requests: 1/h}",
    )  # fmt: skip
    file.write_text(before)
    async with (
        run_upstream(responder(http_response(COUNTED))) as server,
        run_bridge(before, {"UPSTREAM": server.url}, file=str(file)) as bridge,
    ):
        for key in ("k1", "k2", "k3", "k4"):
            assert (await ask(bridge, key)).status == 200
        file.write_text(after)
        await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
        left = {key: rates(await ask(bridge, key), "requests")[1] for key in ("k1", "k2", "k3", "k5")}
        assert left == {"k1": "0", "k2": "0", "k3": "2", "k5": "0"}
        assert (await ask(bridge, "k4")).status == 401


async def test_a_reload_counts_the_requests_in_progress(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    text = server_keys("{name: ci, key: k1, concurrency: 1}")
    file.write_text(text)
    release = asyncio.Event()

    async def slow(peer: Connection) -> None:
        while await peer.request():
            await release.wait()
            await peer.send(http_response(COUNTED))

    async with (
        run_upstream(slow) as server,
        run_bridge(text, {"UPSTREAM": server.url}, file=str(file)) as bridge,
    ):
        first = asyncio.ensure_future(ask(bridge, "k1"))
        await server.wait_until(lambda server: len(server.requests) == 1)
        file.write_text(text + "\n")
        await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
        assert (await ask(bridge, "k1")).status == 429
        release.set()
        assert (await first).status == 200
        assert (await ask(bridge, "k1")).status == 200


SPEC = ClientKeySpec("key", requests=Rate(4, 3600.0), tokens=Rate(10, 3600.0), concurrency=2)


def test_workers_share_rates_and_divide_the_concurrency() -> None:
    rates_of_all = SharedRates()
    workers = [
        ClientKeyLimits(SPEC, WorkerLimits(WorkerShare(number, 3), rates_of_all), None) for number in range(3)
    ]
    for limits in workers:  # each has a share of 1, the last would have 0
        limits.enter()
        with pytest.raises(RequestError, match="1 requests at once"):
            limits.enter()
        limits.leave()
    for limits in workers:
        headers = limits.headers()
        assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == (
            "4",
            "1",
        )
        assert headers["x-ratelimit-remaining-tokens"] == "10"
    workers[0].charge_tokens(7)
    assert [limits.headers()["x-ratelimit-remaining-tokens"] for limits in workers] == ["3"] * 3


def test_keys_and_rates_have_cells_of_their_own() -> None:
    rates_of_all = SharedRates()
    places = {
        rates_of_all.find(key, of, Rate(4, 60.0)) for key in ("a", "b") for of in ("requests", "tokens")
    }
    assert len(places) == 4
    assert rates_of_all.find("a", "requests", Rate(5, 60.0)) not in places
    assert rates_of_all.find("a", "requests", Rate(4, 60.0)) in places


async def test_a_connection_to_one_worker_has_the_whole_rate(tmp_path: Path) -> None:
    async with run_upstream(responder(http_response(COUNTED))) as server:
        text = server_keys("{name: ci, key: k1, requests: 4/h}").replace("${UPSTREAM}", server.url)
        async with run_process(tmp_path, text, *FREE_PORTS, "--workers", "2") as bridge:
            await bridge.ready()
            async with bridge.connect() as client:
                statuses = []
                for _ in range(3):
                    body = {**HELLO, "model": "glm-5"}
                    await client.send(body, headers={"Authorization": "Bearer k1"})
                    statuses.append((await client.response()).status)
            worker, _ = bridge.workers
            os.kill(worker, signal.SIGSTOP)  # the other worker accepts the next connection
            statuses += [(await ask(bridge, "k1")).status for _ in range(2)]
            os.kill(worker, signal.SIGCONT)
        assert statuses == [200, 200, 200, 200, 429]


@pytest.mark.parametrize(("amount", "text"), [(6000, "10ms"), (1, "1m0s"), (3, "20s")])
def test_a_reset_is_written_as_openai_writes_it(amount: int, text: str) -> None:
    limits = ClientKeyLimits(ClientKeySpec("key", requests=Rate(amount, 60.0)), WorkerLimits(), None)
    assert limits.headers()["x-ratelimit-reset-requests"] == "0ms"
    limits.enter()
    written = limits.headers()["x-ratelimit-reset-requests"]
    assert written == text or (text.endswith("ms") and written.endswith("ms"))
