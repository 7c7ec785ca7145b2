"""Whatever becomes of an answer, its session is closed, once; and no two answers share one."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from bridge.demo import serving
from tests.raw_client import HELLO, run_bridge, wait_until
from tests.sessions.session_server import ANSWER, ROUTE, Counting

if TYPE_CHECKING:
    from tests.raw_client import Response, RunningBridge
    from tests.sessions.conftest import RedisServer

HOW = [
    "is fine", "is fine", "is fine", "fails", "fails under 200", "says nothing", "full", "breaks", "stalls",
    "leaves", "leaves", "leaves later",
]  # fmt: skip
AT_ONCE = 50

FILE = "server: {drain: 100ms}\nroutes:" + ROUTE
KEPT = FILE.replace("    request:", "      keep: conversation\n      store: ${STORE:-memory}\n    request:")


async def one(bridge: RunningBridge, how: str, chance: Random, *, stream: bool) -> None:
    """One answer, of a kind that must be what it is."""
    asked = {**HELLO, "stream": stream}
    if how.startswith("leaves"):
        async with bridge.connect() as client:
            await client.send({**asked, "user": "never ends" if how == "leaves later" else "is fine"})
            await asyncio.sleep(chance.random() * (0.1 if how == "leaves later" else 0.01))
        return
    answer = await bridge.request({**asked, "user": how})
    hold(answer, how, stream=stream)


def hold(answer: Response, how: str, *, stream: bool) -> None:
    if how == "is fine":
        said = answer.stream().choice if stream else answer.completion().choice
        assert said.text == ANSWER
    elif answer.status == 200:  # it failed when its stream had begun
        assert stream
        assert answer.stream().error is not None
    else:
        assert answer.status in (500, 502, 504)
        answer.error()


async def settled(server: Counting) -> bool:
    return not server.open and sum(server.closed.values()) == server.opened


async def test_a_thousand_answers_leave_no_session_open() -> None:
    server, chance = Counting(), Random(1337)
    work = [(how, bool(number % 2)) for number, how in enumerate(HOW * 84)][:1000]
    chance.shuffle(work)

    async with serving(server.application()) as url, run_bridge(FILE, {"SERVER": url}) as bridge:

        async def client() -> None:
            while work:
                how, stream = work.pop()
                await one(bridge, how, chance, stream=stream)

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        await bridge.wait_for_count(0, "bridge_requests_in_progress")
        await wait_until(lambda: settled(server))
    assert server.wrong == []
    assert server.opened > 660  # of twelve, eight stay to their end and are let in
    assert set(server.closed.values()) == {1}


async def test_shutting_down_leaves_no_session_open() -> None:
    server = Counting()
    async with serving(server.application()) as url:
        async with run_bridge(FILE, {"SERVER": url}) as bridge:
            clients = [
                asyncio.ensure_future(bridge.request({**HELLO, "user": how, "stream": stream}))
                for how in ("never ends", "is fine")
                for stream in (False, True)
                for _ in range(10)
            ]
            slow = asyncio.ensure_future(bridge.request({**HELLO, "user": "opens slowly"}))
            await server.asked.wait()
            await wait_until(lambda: has(lambda: server.opened == 41))
            asyncio.get_running_loop().call_later(0.3, server.go.set)  # behind the drain
        # The bridge has ended.
        await asyncio.gather(*clients, slow, return_exceptions=True)
        assert await settled(server)
        assert server.opened == 41
    assert server.wrong == []


async def has(holds: Any) -> bool:
    return bool(holds())


@pytest.mark.parametrize("stream", [False, True])
async def test_a_session_that_opens_while_its_client_leaves_is_closed(*, stream: bool) -> None:
    server = Counting()
    async with serving(server.application()) as url, run_bridge(FILE, {"SERVER": url}) as bridge:
        async with bridge.connect() as client:
            await client.send({**HELLO, "user": "opens slowly", "stream": stream})
            await server.asked.wait()
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
        assert server.open == {"s1"}
        server.go.set()
        await wait_until(lambda: settled(server))
    assert server.closed == {"s1": 1}
    assert server.said == []


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_eleven_answers_at_once_never_share_a_session(store: str, redis: RedisServer) -> None:
    server = Counting()
    variables = {"STORE": redis.url if store == "redis" else store}
    async with (
        serving(server.application()) as url,
        run_bridge(KEPT, {"SERVER": url, **variables}) as bridge,
    ):
        first = [{"role": "user", "content": "one"}]
        await bridge.request({"model": "m", "messages": first})
        second = [*first, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": "two"}]
        server.gate = asyncio.Barrier(11)  # none is answered until all are asked
        answers = await asyncio.gather(
            *(bridge.request({"model": "m", "messages": second, "stream": bool(n % 2)}) for n in range(11))
        )
        for number, answer in enumerate(answers):
            hold(answer, "is fine", stream=bool(number % 2))
        used = [session for session, _ in server.said[1:]]
        assert len(set(used)) == 11
        assert [(session, said) for session, said in server.said[1:] if session == "s1"] == [("s1", ["two"])]
        assert all(said == ["one", ANSWER, "two"] for session, said in server.said[1:] if session != "s1")
        # All eleven have said the same since, so ten had to make room for the last.
        await wait_until(lambda: has(lambda: len(server.open) == 1))
    assert server.wrong == []
    assert len(server.open) == (1 if store == "redis" else 0)


async def test_the_next_turn_finds_its_session_as_soon_as_the_last_is_read() -> None:
    server = Counting()
    async with serving(server.application()) as url, run_bridge(KEPT, {"SERVER": url}) as bridge:
        messages: list[dict[str, str]] = []
        for turn in range(20):
            messages.append({"role": "user", "content": str(turn)})
            answer = await bridge.request({"model": "m", "messages": messages, "stream": bool(turn % 2)})
            hold(answer, "is fine", stream=bool(turn % 2))
            messages.append({"role": "assistant", "content": ANSWER})
        assert server.said == [("s1", [str(turn)]) for turn in range(20)]
        assert server.open == {"s1"}
    assert server.closed == {"s1": 1}  # kept in memory, it ends with the bridge
    assert server.wrong == []


@pytest.mark.parametrize("how", ["fails", "fails under 200", "says nothing", "breaks", "stalls"])
async def test_a_session_whose_answer_failed_is_not_kept(how: str) -> None:
    server = Counting()
    async with serving(server.application()) as url, run_bridge(KEPT, {"SERVER": url}) as bridge:
        turn = [
            {"role": "user", "content": "1"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "3"},
        ]
        for _ in range(2):
            hold(await bridge.request({"model": "m", "messages": turn, "user": how}), how, stream=False)
        assert [session for session, _ in server.said] == ["s1", "s2"]
        await wait_until(lambda: settled(server))
    assert server.wrong == []


async def talk(bridge: RunningBridge, name: str, turns: int = 1) -> None:
    """So many turns of a conversation."""
    messages: list[dict[str, str]] = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"{name} {turn}"})
        hold(await bridge.request({"model": "m", "messages": messages}), "is fine", stream=False)
        messages.append({"role": "assistant", "content": ANSWER})


async def test_what_is_too_many_for_memory_is_closed() -> None:
    server, file = Counting(), KEPT.replace("keep: conversation", "keep: conversation\n      most: 3")
    async with serving(server.application()) as url, run_bridge(file, {"SERVER": url}) as bridge:
        for number in range(10):
            await talk(bridge, str(number), turns=2)
        await wait_until(lambda: has(lambda: server.open == {"s8", "s9", "s10"}))
    assert await settled(server)
    assert server.wrong == []


async def test_what_idles_too_long_in_memory_is_closed() -> None:
    server, file = Counting(), KEPT.replace("keep: conversation", "keep: conversation\n      ttl: 50ms")
    async with serving(server.application()) as url, run_bridge(file, {"SERVER": url}) as bridge:
        for number in range(10):
            await talk(bridge, str(number))
        await wait_until(lambda: settled(server))
        assert server.opened == 10
    assert server.wrong == []


async def test_a_server_that_closes_nothing_does_not_hold_the_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.sessions.pool._PATIENCE", 0.2)
    server, file = Counting(), KEPT.replace("path: /close", "path: /hang")
    async with serving(server.application()) as url, run_bridge(file, {"SERVER": url}) as bridge:
        for number in range(3):
            await talk(bridge, str(number))
    assert server.hung == 3


async def test_a_session_that_was_found_for_a_client_who_left_is_closed(redis: RedisServer) -> None:
    server = Counting()
    async with (
        serving(server.application()) as url,
        run_bridge(KEPT, {"SERVER": url, "STORE": redis.url}) as bridge,
    ):
        await talk(bridge, "one")
        turn = [
            {"role": "user", "content": "one 0"},
            {"role": "assistant", "content": ANSWER},
            {"role": "user", "content": "one 1"},
        ]
        redis.stop()
        try:
            async with bridge.connect() as client:
                await client.send({"model": "m", "messages": turn})
                await bridge.wait_for_count(1, "bridge_requests_in_progress")
            await bridge.wait_for_count(1, "bridge_client_disconnects_total")
        finally:
            redis.go_on()
        await wait_until(lambda: settled(server))
    assert (server.opened, server.wrong) == (1, [])
