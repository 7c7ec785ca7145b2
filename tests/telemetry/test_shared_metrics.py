"""The metrics of several workers in one folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.openai.endpoints import CHAT
from bridge.telemetry.exposition import exposition
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.shared_metrics import SharedMetrics

if TYPE_CHECKING:
    from pathlib import Path


def worker(folder: Path, number: int) -> tuple[Metrics, SharedMetrics]:
    """Return the metrics of a new worker."""
    metrics = Metrics()
    return metrics, SharedMetrics(metrics, folder / f"{number}.json")


def finish_request(metrics: Metrics, duration: float) -> None:
    """Record a request from its start to its end."""
    metrics.request_started("r")
    metrics.response_finished("r", CHAT, "m", 200, "", duration)
    metrics.request_ended("r")


def lines(shared: SharedMetrics) -> list[str]:
    """Return the lines of /metrics."""
    return exposition(shared.read_all()).decode().splitlines()


def test_the_numbers_of_all_workers_are_added(tmp_path: Path) -> None:
    first, shared = worker(tmp_path, 0)
    second, other = worker(tmp_path, 1)
    finish_request(first, 0.01)
    finish_request(second, 0.011)
    finish_request(second, 1000.0)
    second.request_started("r")
    other.write()
    text = lines(shared)
    assert 'bridge_requests_total{code="200",endpoint="chat",route="r"} 3.0' in text
    assert 'bridge_requests_in_progress{route="r"} 1.0' in text
    durations = [
        line.replace("gen_ai_server_request_duration_seconds_", "")
        for line in text
        if line.startswith("gen_ai_server_request_duration_seconds_")
    ]
    labels = 'error_type="",gen_ai_operation_name="chat",gen_ai_request_model="m"'
    assert f'bucket{{{labels},le="0.01",route="r"}} 1.0' in durations
    assert f'bucket{{{labels},le="0.02",route="r"}} 2.0' in durations
    assert f'bucket{{{labels},le="81.92",route="r"}} 2.0' in durations
    assert f'bucket{{{labels},le="+Inf",route="r"}} 3.0' in durations
    assert f'count{{{labels},route="r"}} 3.0' in durations
    assert f'sum{{{labels},route="r"}} 1000.021' in durations


def test_a_worker_continues_the_counters_of_the_worker_before(tmp_path: Path) -> None:
    ended, shared = worker(tmp_path, 0)
    finish_request(ended, 0.5)
    ended.request_started("r")
    shared.write()
    successor, shared = worker(tmp_path, 0)
    text = lines(shared)
    assert 'bridge_requests_total{code="200",endpoint="chat",route="r"} 1.0' in text
    assert not any(line.startswith("bridge_requests_in_progress{") for line in text)
    finish_request(successor, 0.5)
    text = lines(shared)
    assert 'bridge_requests_total{code="200",endpoint="chat",route="r"} 2.0' in text
    assert 'bridge_requests_in_progress{route="r"} 0.0' in text


def test_what_was_reported_survives_a_killed_worker(tmp_path: Path) -> None:
    killed, shared = worker(tmp_path, 0)
    finish_request(killed, 0.5)
    reported = lines(shared)
    _, shared = worker(tmp_path, 0)
    assert [line for line in reported if "_total" in line] == [
        line for line in lines(shared) if "_total" in line
    ]


def test_an_unfinished_file_is_not_read(tmp_path: Path) -> None:
    _, shared = worker(tmp_path, 0)
    (tmp_path / "1.part").write_bytes(b'{"bridge_req')
    assert lines(shared)
