"""The limiter of a route: how many requests run, which ones wait, and that no slot is ever lost."""

from __future__ import annotations

import asyncio

import pytest

from bridge.core.errors import RequestError
from bridge.proxy.concurrency import ConcurrencyLimiter
from bridge.routes.rules.settings import LimitsSpec


class Request:
    """A request that waits for its slot, then holds the slot until `finish`."""

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self.admitted = False
        self._finished = asyncio.Event()
        self.task = asyncio.ensure_future(self._run(limiter))

    async def _run(self, limiter: ConcurrencyLimiter) -> None:
        async with limiter:
            self.admitted = True
            await self._finished.wait()

    def finish(self) -> None:
        self._finished.set()


def limiter(concurrency: int, queue: int) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(LimitsSpec(concurrency=concurrency, queue=queue))


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


async def rejected(limiter: ConcurrencyLimiter) -> RequestError:
    """Return the error of a request that finds the queue full."""
    with pytest.raises(RequestError) as caught:
        async with limiter:
            pass
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
