"""The limiter of a route: how many requests run, which ones wait, and that no slot is ever lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.core.errors import BridgeError
from bridge.proxy.concurrency import ConcurrencyLimiter, WorkerShare
from bridge.telemetry.metrics import Metrics
from tests.bridge_process import run_process
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, http_response, run_upstream
from tests.running_bridge import load_table, run_bridge
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.routes.rules.route import Route


class Request:
    """A request that waits for its slot, then holds the slot until `finish`."""

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self.admitted = False
        self._finished = asyncio.Event()
        self.task = asyncio.ensure_future(self._run(limiter))

    async def _run(self, limiter: ConcurrencyLimiter) -> None:
        if not limiter.acquire_at_once():
            await limiter.acquire()
        try:
            self.admitted = True
            await self._finished.wait()
        finally:
            limiter.release()

    def finish(self) -> None:
        self._finished.set()


def route(concurrency: int, queue: int, timeout: str = "1h") -> Route:
    (route,) = load_table(
        f"routes: [{{models: m, upstream: {{url: 'http://h', timeouts: {{queue: {timeout}}}}}, "
        f"limits: {{concurrency: {concurrency}, queue: {queue}}}}}]",
        {},
    ).routes
    return route


def limiter(concurrency: int, queue: int, timeout: str = "1h") -> ConcurrencyLimiter:
    return ConcurrencyLimiter(route(concurrency, queue, timeout), WorkerShare(), Metrics())


async def start(limiter: ConcurrencyLimiter, number: int) -> list[Request]:
    """Start requests, in their order."""
    requests = [Request(limiter) for _ in range(number)]
    await settle()
    return requests


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


def admitted(requests: list[Request]) -> list[int]:
    return [number for number, request in enumerate(requests) if request.admitted]


async def rejected(limiter: ConcurrencyLimiter) -> BridgeError:
    """Return the error of a request that gets no slot."""
    assert not limiter.acquire_at_once()
    with pytest.raises(BridgeError) as caught:
        await limiter.acquire()
    return caught.value


async def test_requests_run_then_wait_then_are_rejected() -> None:
    narrow = limiter(2, 1)
    requests = await start(narrow, 3)
    assert admitted(requests) == [0, 1]
    error = await rejected(narrow)
    assert (error.status, error.retry_after) == (429, "1")
    requests[0].finish()
    await settle()
    assert admitted(requests) == [0, 1, 2]


async def test_slots_are_handed_on_in_the_order_of_arrival() -> None:
    narrow = limiter(1, 10)
    requests = await start(narrow, 4)
    for number in range(3):
        assert admitted(requests) == list(range(number + 1))
        requests[number].finish()
        requests.append(Request(narrow))  # a request that arrives now does not overtake those that wait
        await settle()
    assert admitted(requests) == [0, 1, 2, 3]
    for request in requests:
        request.finish()
    await settle()
    assert admitted(requests) == list(range(7))


async def test_a_request_that_leaves_the_queue_is_passed_over() -> None:
    narrow = limiter(1, 2)
    requests = await start(narrow, 3)
    requests[1].task.cancel()
    requests[0].finish()
    await settle()
    assert admitted(requests) == [0, 2]
    requests += await start(narrow, 2)  # the queue has room for two again
    await rejected(narrow)
    requests[3].task.cancel()
    await settle()
    requests[2].finish()
    await settle()
    assert admitted(requests) == [0, 2, 4]


async def test_a_slot_that_was_handed_to_a_cancelled_request_goes_on() -> None:
    narrow = limiter(1, 2)
    requests = await start(narrow, 3)
    requests[0].finish()
    await asyncio.sleep(0)  # the first request has freed the slot, and the second has not run since
    assert not requests[1].admitted
    requests[1].task.cancel()
    await settle()
    assert admitted(requests) == [0, 2]
    requests[2].finish()
    await settle()
    assert admitted(await start(narrow, 2)) == [0]


async def test_a_request_waits_for_a_bounded_time() -> None:
    narrow = limiter(1, 10, "10ms")
    (first,) = await start(narrow, 1)
    error = await rejected(narrow)
    assert (error.status, error.code, error.retry_after) == (503, "queue_timeout", "1")
    first.finish()
    await settle()
    assert narrow.is_idle
    assert admitted(await start(narrow, 1)) == [0], "the request that gave up holds no slot"


@pytest.mark.parametrize("raised", [2, 0])
async def test_a_raised_limit_admits_waiting_requests_at_once(raised: int) -> None:
    narrow = limiter(1, 10)
    requests = await start(narrow, 2)
    assert admitted(requests) == [0]
    narrow.use_route(route(raised, 10), WorkerShare())
    await settle()
    assert admitted(requests) == [0, 1]


@pytest.mark.parametrize("before", [3, 0])
async def test_a_lowered_limit_counts_the_requests_that_run(before: int) -> None:
    wide = limiter(before, 10)
    requests = await start(wide, 3)
    assert admitted(requests) == [0, 1, 2]
    wide.use_route(route(1, 10), WorkerShare())
    requests += await start(wide, 1)
    for number in range(3):
        assert not requests[3].admitted
        requests[number].finish()
        await settle()
    assert requests[3].admitted


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("limit", [1, 5, 100])
def test_the_shares_of_workers_add_up_to_the_limit(workers: int, limit: int) -> None:
    shares = [WorkerShare(number, workers).of(limit) for number in range(workers)]
    assert sum(shares) == limit
    assert max(shares) - min(shares) <= 1


LIMITED = """
routes:
  - name: r
    models: m
    upstream: {url: "${UPSTREAM}", timeouts: {queue: %s}}
    limits: {concurrency: %d, queue: 10}
"""


class HeldResponses:
    """An upstream that holds its responses, and counts the requests that it holds at once."""

    def __init__(self) -> None:
        self.release = asyncio.Semaphore(0)
        self.held = self.most = 0

    async def __call__(self, peer: Connection) -> None:
        while await peer.request():
            self.held += 1
            self.most = max(self.most, self.held)
            await self.release.acquire()
            self.held -= 1
            await peer.send(http_response(completion("hello")))


@pytest.mark.parametrize(
    "change", ["# a comment\n", "  - {name: another, models: n, upstream: 'http://127.0.0.1:1'}\n"]
)
async def test_a_reload_does_not_forget_the_requests_that_run(tmp_path: Path, change: str) -> None:
    file = tmp_path / "routes.yaml"
    text = LIMITED % ("1h", 1)
    file.write_text(text)
    upstream = HeldResponses()
    async with (
        run_upstream(upstream) as server,
        run_bridge(text, {"UPSTREAM": server.url}, file=str(file)) as bridge,
    ):
        first = asyncio.ensure_future(bridge.request(HELLO))
        await server.wait_until(lambda server: len(server.requests) == 1)
        file.write_text(text + change)
        bridge.reload.set()
        await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
        second = asyncio.ensure_future(bridge.request(HELLO))
        await bridge.wait_for_count(1, "bridge_requests_waiting", route="r")
        assert len(server.requests) == 1
        upstream.release.release()
        upstream.release.release()
        assert [(await each).status for each in (first, second)] == [200, 200]
        assert upstream.most == 1
        await bridge.wait_for_count(0, "bridge_requests_waiting", route="r")


async def test_a_request_that_waited_too_long_gets_a_503() -> None:
    upstream = HeldResponses()
    async with (
        run_upstream(upstream) as server,
        run_bridge(LIMITED % ("50ms", 1), {"UPSTREAM": server.url}) as bridge,
    ):
        first = asyncio.ensure_future(bridge.request(HELLO))
        await server.wait_until(lambda server: len(server.requests) == 1)
        second = await bridge.request({**HELLO, "stream": True})
        assert (second.status, second.error()["code"]) == (503, "queue_timeout")
        assert "waited 0.05 s" in second.error()["message"]
        assert second.headers["retry-after"] == "1"
        await bridge.wait_for_count(1, "bridge_queue_rejections_total", route="r", reason="timeout")
        upstream.release.release()
        assert (await first).status == 200
        assert len(server.requests) == 1


async def test_workers_share_a_limit(tmp_path: Path) -> None:
    upstream = HeldResponses()
    async with run_upstream(upstream) as server:
        flags = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2")
        text = (LIMITED % ("1h", 2)).replace("${UPSTREAM}", server.url)
        async with run_process(tmp_path, text, *flags) as bridge:
            pending = [asyncio.ensure_future(bridge.request(HELLO)) for _ in range(6)]
            await bridge.wait_for_count(6, "bridge_requests_in_progress", route="r")
            for _ in pending:
                upstream.release.release()
            assert [(await each).status for each in pending] == [200] * 6
            assert upstream.most <= 2


async def test_a_limit_below_the_number_of_workers_is_logged(tmp_path: Path) -> None:
    flags = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "2")
    text = (LIMITED % ("1h", 1)).replace("${UPSTREAM}", "http://127.0.0.1:1")
    warning = "limits.concurrency is below the number of workers, each of which forwards a request"
    async with run_process(tmp_path, text, *flags, warns=[warning]) as bridge:
        assert (await bridge.get_admin("/readyz")).status == 200
