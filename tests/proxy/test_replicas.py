"""The choice of replicas: turns, weights, load, and the eviction of replicas that fail."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.proxy.replicas import Others, Replica, ReplicaSet
from bridge.routes.rules.transport import EvictSpec
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, http_response, responder, run_upstream
from tests.running_bridge import run_bridge, run_bridge_from_file, wait_until
from tests.telemetry.captured_log import captured_log
from tests.upstream.formats import DONE, completion, frame, stream_head

if TYPE_CHECKING:
    from pathlib import Path

GOOD = http_response(completion("hello"))
FAILED = http_response({"error": {"message": "no memory"}}, 500)


def replica_set(*weights: int, least_busy: bool = False, after: int = 3) -> ReplicaSet:
    replicas = [Replica(str(number), weight) for number, weight in enumerate(weights)]
    evict = EvictSpec(after=after, duration=30.0)
    return ReplicaSet(replicas, least_busy=least_busy, evict=evict, changed=lambda replica, reason: None)


def fail(replicas: ReplicaSet, index: int, now: float) -> None:
    replicas.begin(index)
    replicas.failed(index, now)
    replicas.end(index)


def succeed(replicas: ReplicaSet, index: int) -> None:
    replicas.begin(index)
    replicas.succeeded(index)
    replicas.end(index, complete=True)


def chosen(replicas: ReplicaSet, number: int, now: float = 0.0) -> list[int]:
    """Return the choices for requests of which each is over before the next one."""
    indexes = []
    for _ in range(number):
        indexes.append(replicas.choose((), now))
        replicas.end(indexes[-1])
    return indexes


def test_equal_replicas_take_turns() -> None:
    assert chosen(replica_set(1, 1, 1), 6) == [0, 1, 2, 0, 1, 2]


def test_weights_are_shares_and_not_bursts() -> None:
    indexes = chosen(replica_set(1, 3), 40)
    assert Counter(indexes) == {0: 10, 1: 30}
    assert all(0 in indexes[start : start + 4] for start in range(36))


def test_the_least_busy_replica_is_chosen() -> None:
    replicas = replica_set(1, 1, least_busy=True)
    first = replicas.choose((), 0.0)
    other = 1 - first
    assert chosen(replicas, 5) == [other] * 5
    replicas.choose((), 0.0)
    replicas.choose((), 0.0)
    replicas.end(first)
    assert chosen(replicas, 1) == [first]


def test_load_is_relative_to_the_weight() -> None:
    replicas = replica_set(1, 3, least_busy=True)
    assert Counter(replicas.choose((), 0.0) for _ in range(40)) == {0: 10, 1: 30}


def test_a_replica_that_was_tried_is_the_last_choice() -> None:
    replicas = replica_set(1, 1)
    assert replicas.choose({0}, 0.0) == 1
    assert replicas.choose({1}, 0.0) == 0
    assert replicas.choose({0, 1}, 0.0) in (0, 1)


def test_failures_in_a_row_evict_a_replica() -> None:
    replicas = replica_set(1, 1, after=3)
    for _ in range(2):
        fail(replicas, 0, 0.0)
    succeed(replicas, 0)
    for _ in range(2):
        fail(replicas, 0, 0.0)
    assert set(chosen(replicas, 4)) == {0, 1}
    fail(replicas, 0, 0.0)
    assert set(chosen(replicas, 4, now=29.9)) == {1}


def test_an_evicted_replica_is_probed_by_one_request() -> None:
    replicas = replica_set(1, 1, after=1)
    fail(replicas, 0, 0.0)
    probe = replicas.choose({1}, 30.0)
    assert probe == 0
    assert set(chosen(replicas, 4, now=30.0)) == {1}, "a probe is in flight"
    replicas.failed(probe, 31.0)
    replicas.end(probe)
    assert set(chosen(replicas, 4, now=60.9)) == {1}
    probe = replicas.choose({1}, 61.0)
    replicas.succeeded(probe)
    replicas.end(probe)
    assert set(chosen(replicas, 4, now=61.0)) == {0, 1}


def test_a_probe_whose_client_disconnects_decides_nothing() -> None:
    replicas = replica_set(1, 1, after=1)
    fail(replicas, 0, 0.0)
    replicas.end(replicas.choose({1}, 30.0))
    assert replicas.choose({1}, 30.0) == 0


def test_an_evicted_replica_is_tried_after_one_that_is_unreachable() -> None:
    replicas = replica_set(1, 1, after=1)
    fail(replicas, 0, 0.0)
    assert replicas.others((), 1.0) is Others.USABLE
    assert replicas.others([1], 1.0) is Others.EVICTED
    assert replicas.others([0, 1], 1.0) is Others.NONE
    assert replicas.choose([1], 1.0) == 1
    assert replicas.choose([1], 1.0, unreachable=True) == 0


def test_if_all_replicas_are_evicted_all_are_used() -> None:
    replicas = replica_set(1, 1, after=1)
    for index in range(2):
        fail(replicas, index, 0.0)
    assert set(chosen(replicas, 4, now=1.0)) == {0, 1}


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from(["begin", "fail", "end", "complete", "check", "wait"]), st.integers(0, 9))
    ),
)
def test_whatever_happens_a_usable_replica_is_chosen(
    weights: list[int], least_busy: bool, steps: list[tuple[str, int]]
) -> None:
    replicas, now, running = replica_set(*weights, least_busy=least_busy, after=2), 0.0, list[int]()
    for step, number in steps:
        if step == "wait":
            now += number * 10
        elif step == "check":
            replicas.checked(number % len(weights), "x" if number > 4 else None)
        elif step == "begin":
            usable = {index for index, each in enumerate(replicas.replicas) if each.is_usable(now)}
            running.append(replicas.choose((), now))
            assert not usable or running[-1] in usable
        elif running:
            index = running.pop(number % len(running))
            if step == "fail":
                replicas.failed(index, now)
            else:
                replicas.succeeded(index)
            replicas.end(index, complete=step == "complete")
        in_flight = [each.in_flight for each in replicas.replicas]
        assert in_flight == [running.count(index) for index in range(len(weights))]


async def test_a_failing_replica_is_evicted_and_restored() -> None:
    broken = True

    async def behave(peer: Connection) -> None:
        while await peer.request():
            await peer.send(FAILED if broken else GOOD)

    text = "routes: [{models: m, upstream: {url: '${A}', replicas: ['${B}'], evict: {after: 2, for: 200ms}}}]"
    with captured_log() as log:
        async with (
            run_upstream(behave) as a,
            run_upstream(responder(GOOD)) as b,
            run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
        ):
            statuses = [(await bridge.request(HELLO)).status for _ in range(10)]
            assert Counter(statuses) == {500: 2, 200: 8}
            name = a.url.removeprefix("http://")
            assert await bridge.count("bridge_upstream_replicas_evicted", route="m", replica=name) == 1
            assert await bridge.count("bridge_upstream_replicas_evicted") == 1
            broken = False

            async def restored() -> bool:
                assert (await bridge.request(HELLO)).status == 200
                return await bridge.count("bridge_upstream_replicas_evicted") == 0

            await wait_until(restored)
        (evicted,), (back,) = log.of("replica evicted"), log.of("replica restored")
        assert (evicted["replica"], evicted["route"], evicted["level"]) == (name, "m", "warning")
        assert back["replica"] == name


async def test_a_replica_that_breaks_off_its_streams_is_evicted() -> None:
    async def break_off(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head() + chunk(frame("hel")))

    async def stream(peer: Connection) -> None:
        while await peer.request():
            await peer.send(stream_head() + chunk(frame("hello")) + chunk(DONE) + chunk(b""))

    text = "routes: [{models: m, upstream: {url: '${A}', replicas: ['${B}'], evict: {after: 2, for: 1m}}}]"
    async with (
        run_upstream(break_off) as a,
        run_upstream(stream) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        for _ in range(10):
            await bridge.request({**HELLO, "stream": True})
        assert (len(a.requests), len(b.requests)) == (2, 8)


async def test_weights_and_the_least_busy_replica_over_http() -> None:
    go_on = asyncio.Event()

    async def slow(peer: Connection) -> None:
        while await peer.request():
            await go_on.wait()
            await peer.send(GOOD)

    async def received() -> bool:
        return len(a.requests) + len(b.requests) == 9

    upstream = "{url: '${A}', replicas: [{url: '${B}', weight: 2}], balance: least-busy}"
    text = f"routes: [{{models: m, upstream: {upstream}}}]"
    async with (
        run_upstream(slow) as a,
        run_upstream(slow) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        waiting = [asyncio.ensure_future(bridge.request(HELLO)) for _ in range(9)]
        await wait_until(received)
        assert (len(a.requests), len(b.requests)) == (3, 6)
        go_on.set()
        assert all(response.status == 200 for response in await asyncio.gather(*waiting))


async def test_a_disconnect_frees_the_replica() -> None:
    async def hang(peer: Connection) -> None:
        await peer.request()
        await peer.wait_closed()

    async def received(number: int) -> bool:
        return len(a.requests) + len(b.requests) == number

    text = "routes: [{models: m, upstream: {url: '${A}', replicas: ['${B}'], balance: least-busy}}]"
    async with (
        run_upstream(hang) as a,
        run_upstream(hang) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        for number in range(1, 5):
            async with bridge.connect() as client:
                await client.send(HELLO)
                await wait_until(partial(received, number))
            await bridge.wait_for_count(number, "bridge_client_disconnects_total")
        assert (len(a.requests), len(b.requests)) == (2, 2)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_reload_keeps_the_eviction_of_a_replica_that_remains(*, kept: bool, tmp_path: Path) -> None:
    text = "routes: [{models: m, upstream: {url: '${A}', replicas: ['${B}'], evict: {after: 1, for: 1m}}}]"
    async with (
        run_upstream(responder(FAILED)) as a,
        run_upstream(responder(GOOD)) as b,
        run_upstream(responder(GOOD)) as c,
        run_bridge_from_file(tmp_path, text, {"A": a.url, "B": b.url, "C": c.url}) as bridge,
    ):
        for _ in range(4):
            await bridge.request(HELLO)
        assert len(a.requests) == 1
        changed = text.replace("for: 1m", "for: 2m") if kept else text.replace("url: '${A}'", "url: '${C}'")
        (tmp_path / "routes.yaml").write_text(changed)
        bridge.reload.set()
        await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
        assert await bridge.count("bridge_upstream_replicas_evicted") == int(kept)
        for _ in range(4):
            assert (await bridge.request(HELLO)).status == 200
        assert (len(a.requests), len(c.requests)) == (1, 0 if kept else 2)
        assert await bridge.count("bridge_upstream_replicas_evicted") == int(kept)
