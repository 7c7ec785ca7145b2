"""What is told of requests: all of it, once, a few together, and at once to whoever asks."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from bridge.openai.endpoints import CHAT
from bridge.telemetry.logging import configure
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.request_log import RequestLog
from tests.raw_client import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

TOGETHER = 16


class Telling:
    """Accounts with metrics and a log of their own."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        configure(self.stream)
        self.metrics = Metrics()
        self.accounts = RequestLog(self.metrics)
        self.series = self.metrics.series("route", CHAT, "m")

    @property
    def lines(self) -> list[str]:
        """The requests that the log tells of."""
        return [json.loads(line)["id"] for line in self.stream.getvalue().splitlines()]

    def enter(self, *names: str) -> None:
        """Requests that are over."""
        for name in names:
            account = self.accounts.start(self.series, name)
            account.finish(None, 200)
            account.finished_at = 0.5
            account.release()

    async def counts(self, text: str) -> bool:
        """Whether the metrics say this."""
        return text in (await self.metrics.exposition()).decode()


@pytest.fixture
def logger() -> Iterator[None]:
    """The logger as it was, afterwards."""
    logger = logging.getLogger("bridge")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


pytestmark = pytest.mark.usefixtures("logger")


async def test_it_is_told_a_moment_later_by_itself() -> None:
    telling = Telling()
    account = telling.accounts.start(telling.series, "going on")
    telling.enter("one", "two")
    assert telling.lines == []

    async def told() -> bool:
        return telling.lines == ["one", "two"]

    await wait_until(told)
    assert await telling.counts('bridge_requests_in_progress{route="route"} 1.0')
    account.release()

    async def none_left() -> bool:
        return await telling.counts('bridge_requests_in_progress{route="route"} 0.0')

    await wait_until(none_left)


async def test_many_are_told_when_they_are_there() -> None:
    telling = Telling()
    telling.enter(*map(str, range(TOGETHER - 1)))
    await asyncio.sleep(0)
    assert telling.lines == []
    telling.enter("last", "late")
    await asyncio.sleep(0)
    assert telling.lines == [*map(str, range(TOGETHER - 1)), "last", "late"]


async def test_whoever_asks_is_told_all_once() -> None:
    telling = Telling()
    telling.enter("one", "two")
    telling.accounts.flush()
    telling.accounts.flush()
    assert telling.lines == ["one", "two"]
    assert await telling.counts('bridge_requests_total{code="200",endpoint="chat",route="route"} 2.0')
    assert json.loads(telling.stream.getvalue().splitlines()[0])["time"].endswith(":00.500")
