"""The text of /metrics: of one process or several, in small pieces, whatever the number of routes."""

from __future__ import annotations

import asyncio
import gc
import gzip
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.core.deltas import Usage
from bridge.openai.endpoints import CHAT, EMBEDDINGS
from bridge.telemetry import series as series_module
from bridge.telemetry.exposition import exposition
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.series import Series, SharedMemory
from tests.raw_client import Client
from tests.running_bridge import run_bridge
from tests.test_costs import InstructionCounter, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUTES = 5000


def finish_request(metrics: Metrics, duration: float, route: str = "r", *, stream: bool = False) -> None:
    """Record a request from its start to its end."""
    in_progress = metrics.request_started(route)
    metrics.response_finished(route, CHAT, "m", 200, "", duration)
    if stream:
        metrics.output_finished(route, CHAT, "m", "", duration, duration / 2, Usage(7, 5))
    metrics.request_ended(in_progress)


async def lines(*processes: Series) -> list[str]:
    """Return the lines of /metrics."""
    return b"".join([piece async for piece in exposition(processes)]).decode().splitlines()


def workers(number: int) -> tuple[Sequence[SharedMemory], Sequence[Metrics]]:
    """Return the shared memories of workers, and their metrics."""
    memories = [SharedMemory() for _ in range(number)]
    return memories, [Metrics(Series(memory)) for memory in memories]


async def test_the_numbers_of_all_workers_are_added() -> None:
    memories, (first, second) = workers(2)
    processes = first.series, Series(memories[1])
    finish_request(first, 0.08)
    finish_request(second, 0.081)
    finish_request(second, 1000.0)
    second.request_started("r")
    text = await lines(*processes)
    assert 'bridge_requests_total{code="200",endpoint="chat",route="r"} 3.0' in text
    assert 'bridge_requests_in_progress{route="r"} 1.0' in text
    assert "bridge_log_lines_dropped_total 0.0" in text
    name = "gen_ai_server_request_duration_seconds"
    labels = 'error_type="",gen_ai_operation_name="chat",gen_ai_request_model="m"'
    for bound, count in (("0.08", 1), ("0.32", 2), ("81.92", 2), ("+Inf", 3)):
        assert f'{name}_bucket{{{labels},le="{bound}",route="r"}} {count}.0' in text, (
            "a bucket contains its bound"
        )
    assert f'{name}_count{{{labels},route="r"}} 3.0' in text
    (total,) = (line for line in text if line.startswith(f'{name}_sum{{{labels},route="r"}} '))
    assert float(total.rpartition(" ")[2]) == pytest.approx(1000.161)
    second.log_lines_dropped(4)
    finish_request(second, 0.1, "later")
    text = await lines(*processes)
    assert "bridge_log_lines_dropped_total 4.0" in text
    assert 'bridge_requests_total{code="200",endpoint="chat",route="later"} 1.0' in text


async def test_a_worker_continues_the_counters_of_the_worker_before() -> None:
    (memory,), (ended,) = workers(1)
    finish_request(ended, 0.5)
    finish_request(ended, 0.5, "second")
    ended.request_started("r")
    successor = Metrics(Series(memory))
    successor.series.clear_gauges()
    finish_request(successor, 0.5)
    finish_request(successor, 0.5, "third")
    text = await lines(successor.series)
    assert 'bridge_requests_total{code="200",endpoint="chat",route="r"} 2.0' in text
    assert 'bridge_requests_total{code="200",endpoint="chat",route="second"} 1.0' in text
    assert 'bridge_requests_total{code="200",endpoint="chat",route="third"} 1.0' in text
    assert 'bridge_requests_in_progress{route="r"} 0.0' in text


async def test_an_index_is_longer_than_one_read() -> None:
    (memory,), (metrics,) = workers(1)
    reader = Series(memory)
    for number in range(1000):
        finish_request(metrics, 0.5, f"route {number} with a long name, {'x' * 100}")
    text = await lines(reader)
    assert sum(line.startswith("bridge_requests_total{") for line in text) == 1000


async def test_only_what_was_observed_is_reported() -> None:
    metrics = Metrics()
    metrics.request_started("r")
    metrics.response_finished("r", EMBEDDINGS, "m", 200, "", 0.5)
    metrics.output_finished("r", EMBEDDINGS, "m", "", 0.5, None, Usage(7, 0))
    samples = [line for line in await lines(metrics.series) if not line.startswith("#")]
    named = {line.partition("{")[0] for line in samples if line.startswith("gen_ai")}
    for name in ("gen_ai_server_request_duration_seconds", "gen_ai_client_token_usage"):
        assert {f"{name}_bucket", f"{name}_count", f"{name}_sum"} <= named
    assert not any("time_to_first_token" in name or "per_output_token" in name for name in named)
    assert not any('gen_ai_token_type="output"' in line for line in samples)


async def test_label_values_are_escaped() -> None:
    metrics = Metrics()
    name = 'a "b" \\ c\nd \U0001f600 \ud83d'
    finish_request(metrics, 0.5, name)
    text = "\n".join(await lines(metrics.series))
    (family,) = (each for each in text_string_to_metric_families(text) if each.name == "bridge_requests")
    (sample,) = family.samples
    assert sample.labels["route"] == name.replace("\ud83d", "?")


async def test_numbers_beyond_the_limit_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_module, "_MAX_NUMBERS", 400)
    for metrics in (Metrics(), workers(1)[1][0]):
        for number in range(50):
            finish_request(metrics, 0.5, f"r{number}", stream=True)
        text = await lines(metrics.series)
        assert 0 < sum(line.startswith("bridge_requests_total{") for line in text) < 20
        assert all(line.endswith(" 1.0") for line in text if line.startswith("bridge_requests_total{"))


async def test_thousands_of_routes_fit_into_little_memory() -> None:
    gc.collect()
    tracemalloc.start()
    try:
        metrics = Metrics()
        for number in range(ROUTES):
            finish_request(metrics, 0.5, f"route-{number}", stream=True)
        numbers, _ = tracemalloc.get_traced_memory()
        async for _ in exposition([metrics.series]):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert numbers < 8_000_000
    assert peak < 10_000_000


@pytest.mark.parametrize("processes", [1, 2])
async def test_the_text_is_made_in_small_pieces(processes: int) -> None:
    memories, all_metrics = workers(processes)
    for metrics in all_metrics:
        for number in range(300):
            finish_request(metrics, 0.5, f"route-{number}", stream=True)
    processes_read = [all_metrics[0].series, *map(Series, memories[1:])]
    instructions = []

    async def other_work(counter: InstructionCounter) -> None:
        while True:
            instructions.append(counter.instructions)
            await asyncio.sleep(0)

    with counted() as counter:
        other = asyncio.ensure_future(other_work(counter))
        sizes = [len(piece) async for piece in exposition(processes_read)]
        other.cancel()
    assert len(sizes) > 100
    assert max(sizes) < 50_000
    assert max(end - start for start, end in pairwise(instructions)) < 30_000, "less than a millisecond"


async def test_a_scraper_may_request_compression() -> None:
    async with run_bridge("routes: [{models: m, upstream: 'http://127.0.0.1:1'}]", {}) as bridge:
        plain = await bridge.get_admin("/metrics")
        reader, writer = await asyncio.open_connection(*bridge.admin)
        client = Client(reader, writer)
        await client.send(method="GET", path="/metrics", headers={"Accept-Encoding": "gzip"})
        compressed = await client.response()
        assert compressed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(compressed.body) == plain.body
        await client.send(method="HEAD", path="/metrics")
        assert (await client.response(bodiless=True)).status == 200
        await client.send(method="GET", path="/healthz")
        assert (await client.response()).status == 200
        writer.close()
