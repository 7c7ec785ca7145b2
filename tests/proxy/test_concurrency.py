"""The gate of a route: how many at once, who waits, and that no place is ever lost."""

from __future__ import annotations

import asyncio

import pytest

from bridge.core.errors import RequestError
from bridge.proxy.concurrency import ConcurrencyLimiter
from bridge.routes.rules.settings import LimitsSpec


def gate(concurrency: int, queue: int) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(LimitsSpec(concurrency=concurrency, queue=queue))


async def waiting(gate: ConcurrencyLimiter, number: int) -> list[asyncio.Task[None]]:
    """So many that wait, in their order."""
    tasks = [asyncio.ensure_future(gate.acquire()) for _ in range(number)]
    await asyncio.sleep(0)
    return tasks


async def let_in(tasks: list[asyncio.Task[None]]) -> list[int]:
    """Which of them have a place by now."""
    for _ in range(3):
        await asyncio.sleep(0)
    return [number for number, task in enumerate(tasks) if task.done() and not task.cancelled()]


async def test_so_many_are_let_through_and_so_many_wait() -> None:
    narrow = gate(2, 1)
    assert [narrow.try_acquire() for _ in range(3)] == [True, True, False]
    tasks = await waiting(narrow, 1)
    with pytest.raises(RequestError) as refused:
        await narrow.acquire()
    assert (refused.value.status, refused.value.retry_after) == (429, "1")
    narrow.release()
    assert await let_in(tasks) == [0]


async def test_places_are_handed_on_in_the_order_of_coming() -> None:
    narrow = gate(1, 10)
    assert narrow.try_acquire()
    tasks = await waiting(narrow, 3)
    for expected in ([0], [0, 1], [0, 1, 2]):
        narrow.release()
        assert not narrow.try_acquire()  # whoever comes now does not pass those who wait
        assert await let_in(tasks) == expected
    narrow.release()
    assert narrow.try_acquire()


async def test_who_leaves_the_queue_is_passed_over() -> None:
    narrow = gate(1, 2)
    assert narrow.try_acquire()
    tasks = await waiting(narrow, 2)
    tasks[0].cancel()
    narrow.release()  # before it has noticed
    assert await let_in(tasks) == [1]
    tasks += await waiting(narrow, 2)  # there is room for two again
    tasks[2].cancel()
    await asyncio.sleep(0)
    narrow.release()
    assert await let_in(tasks) == [1, 3]
    narrow.release()
    assert narrow.try_acquire()


async def test_a_place_that_was_given_too_late_goes_on() -> None:
    narrow = gate(1, 2)
    assert narrow.try_acquire()
    tasks = await waiting(narrow, 2)
    narrow.release()
    tasks[0].cancel()  # it has its place, and does not know
    assert await let_in(tasks) == [1]
    narrow.release()
    assert narrow.try_acquire()
    assert not narrow.try_acquire()
