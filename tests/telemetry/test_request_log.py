"""The record of a request: metrics and a log line, at once and only once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.deltas import Usage
from bridge.core.errors import RequestError, UpstreamError, UpstreamFailure
from bridge.openai.endpoints import CHAT
from bridge.telemetry.exposition import exposition
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.request_log import RequestRecord
from tests.telemetry.captured_log import CapturedLog, captured_log

if TYPE_CHECKING:
    from collections.abc import Iterator


class Telemetry:
    """Metrics and a log of their own."""

    def __init__(self, log: CapturedLog) -> None:
        self._log = log
        self.metrics = Metrics()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        return self._log.all

    def record(self, id_: str = "an-id") -> RequestRecord:
        """Return the record of a request that begins."""
        return RequestRecord(self.metrics, "route", CHAT, "m", id_)

    async def shows(self, text: str) -> bool:
        """Return whether /metrics contains a text."""
        pieces = [piece async for piece in exposition([self.metrics.series])]
        return text in b"".join(pieces).decode()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    with captured_log() as log:
        yield Telemetry(log)


async def test_a_request_is_in_progress_until_released(telemetry: Telemetry) -> None:
    record = telemetry.record()
    assert await telemetry.shows('bridge_requests_in_progress{route="route"} 1.0')
    assert telemetry.lines == []
    record.finish(None, 200)
    assert await telemetry.shows('bridge_requests_in_progress{route="route"} 1.0')
    record.release()
    assert await telemetry.shows('bridge_requests_in_progress{route="route"} 0.0')


async def test_a_response_is_recorded_at_once(telemetry: Telemetry) -> None:
    telemetry.record("first").finish(None, 200)
    assert [line["id"] for line in telemetry.lines] == ["first"]
    assert await telemetry.shows('bridge_requests_total{code="200",endpoint="chat",route="route"} 1.0')
    telemetry.record("second").finish(RequestError(400, "no", code="a_code"), 400)
    line = telemetry.lines[1]
    assert line.items() >= {"id": "second", "status": 400, "error": "400", "code": "a_code"}.items()
    assert await telemetry.shows('error_type="400"')


async def test_only_the_first_end_of_a_request_counts(telemetry: Telemetry) -> None:
    record = telemetry.record()
    record.finish(UpstreamError(UpstreamFailure.TIMEOUT, "slow", status=504), 504)
    record.finish(None, 200)
    record.client_disconnected()
    (line,) = telemetry.lines
    assert line.items() >= {"status": 504, "error": "timeout"}.items()
    assert await telemetry.shows('bridge_upstream_errors_total{kind="timeout",route="route"} 1.0')
    assert not await telemetry.shows("bridge_client_disconnects_total{")


class StreamedExchange:
    """The parts of an exchange that a record reads."""

    is_stream = True
    dropped = ("temperature", "x_secret")
    retries = 3

    def __init__(self, usage: Usage) -> None:
        self.usage = usage


async def test_a_stream_is_recorded_with_its_tokens(telemetry: Telemetry) -> None:
    record = telemetry.record()
    record.exchange = StreamedExchange(Usage(7, 5))  # type: ignore[assignment]
    record.first_byte_sent()
    record.finish(None, 200)
    (line,) = telemetry.lines
    assert (
        line.items()
        >= {"stream": True, "prompt_tokens": 7, "completion_tokens": 5, "dropped": 2, "retries": 3}.items()
    )
    assert line["first_ms"] <= line["ms"]
    assert await telemetry.shows('bridge_dropped_parameters_total{parameter="other",route="route"} 1.0')


async def test_a_count_that_no_float_holds_is_recorded(telemetry: Telemetry) -> None:
    """The counts are an upstream's: they must not cost the log line."""
    for usage in (Usage(10**400, 10**400), Usage(1, 10**400, estimated=True)):
        record = telemetry.record()
        record.exchange = StreamedExchange(usage)  # type: ignore[assignment]
        record.first_byte_sent()
        record.finish(None, 200)
        record.release()
    assert [line["completion_tokens"] for line in telemetry.lines] == [10**400] * 2
    assert await telemetry.shows('bridge_requests_total{code="200",endpoint="chat",route="route"} 2.0')
