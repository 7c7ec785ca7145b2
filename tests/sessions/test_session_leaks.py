"""Sessions are closed exactly once after any outcome, and never used by two requests at once."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.raw_client import HELLO
from tests.running_bridge import run_bridge, wait_until
from tests.sessions.session_server import ANSWER, ROUTE, SessionServer

if TYPE_CHECKING:
    from tests.conftest import ServeApp
    from tests.raw_client import Response
    from tests.running_bridge import RunningBridge
    from tests.sessions.conftest import RedisServer

BEHAVIOURS = [
    "is fine", "is fine", "is fine", "fails", "fails under 200", "says nothing", "full", "breaks", "stalls",
    "leaves", "leaves", "leaves later",
]  # fmt: skip
CLIENTS = 50

FILE = "server: {drain: 100ms}\nroutes:" + ROUTE
KEPT = FILE.replace("    request:", "      keep: conversation\n      store: ${STORE:-memory}\n    request:")


@pytest.fixture
async def server(serve_app: ServeApp) -> SessionServer:
    server = SessionServer()
    server.url = await serve_app(server.application())
    return server


async def send_request(bridge: RunningBridge, behaviour: str, random: Random, *, stream: bool) -> None:
    """Send a request, and assert the response for this behaviour."""
    body = {**HELLO, "stream": stream}
    if behaviour.startswith("leaves"):
        async with bridge.connect() as client:
            await client.send({**body, "user": "never ends" if behaviour == "leaves later" else "is fine"})
            await asyncio.sleep(random.random() * (0.1 if behaviour == "leaves later" else 0.01))
        return
    response = await bridge.request({**body, "user": behaviour})
    assert_response(response, behaviour, stream=stream)


def assert_response(response: Response, behaviour: str, *, stream: bool) -> None:
    if behaviour == "is fine":
        choice = response.stream().choice if stream else response.completion().choice
        assert choice.text == ANSWER
    elif response.status == 200:  # the stream failed after its start
        assert stream
        assert response.stream().error is not None
    else:
        assert response.status in (500, 502, 504)
        response.error()


async def all_closed(server: SessionServer) -> bool:
    return not server.open and sum(server.closed.values()) == server.opened


async def test_a_thousand_requests_leave_no_session_open(server: SessionServer) -> None:
    random = Random(1337)
    work = [(behaviour, bool(number % 2)) for number, behaviour in enumerate(BEHAVIOURS * 84)][:1000]
    random.shuffle(work)

    async with run_bridge(FILE, {"SERVER": server.url}) as bridge:

        async def client() -> None:
            while work:
                behaviour, stream = work.pop()
                await send_request(bridge, behaviour, random, stream=stream)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        await bridge.wait_for_count(0, "bridge_requests_in_progress")
        await wait_until(lambda: all_closed(server))
    assert server.violations == []
    assert server.opened > 660  # eight of twelve behaviours open a session and read the response
    assert set(server.closed.values()) == {1}


async def test_shutdown_leaves_no_session_open(server: SessionServer) -> None:
    async with run_bridge(FILE, {"SERVER": server.url}) as bridge:
        clients = [
            asyncio.ensure_future(bridge.request({**HELLO, "user": behaviour, "stream": stream}))
            for behaviour in ("never ends", "is fine")
            for stream in (False, True)
            for _ in range(10)
        ]
        slow = asyncio.ensure_future(bridge.request({**HELLO, "user": "opens slowly"}))
        await server.arrived.wait()
        await wait_until(lambda: is_true(lambda: server.opened == 41))
        asyncio.get_running_loop().call_later(0.3, server.release.set)  # after the drain
    # The bridge is shut down.
    await asyncio.gather(*clients, slow, return_exceptions=True)
    assert await all_closed(server)
    assert server.opened == 41
    assert server.violations == []


async def is_true(holds: Any) -> bool:
    return bool(holds())


@pytest.mark.parametrize("stream", [False, True])
async def test_a_session_opened_after_a_disconnect_is_closed(server: SessionServer, *, stream: bool) -> None:
    async with run_bridge(FILE, {"SERVER": server.url}) as bridge:
        async with bridge.connect() as client:
            await client.send({**HELLO, "user": "opens slowly", "stream": stream})
            await server.arrived.wait()
        await bridge.wait_for_count(1, "bridge_client_disconnects_total")
        assert server.open == {"s1"}
        server.release.set()
        await wait_until(lambda: all_closed(server))
    assert server.closed == {"s1": 1}
    assert server.turns == []


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_concurrent_requests_never_share_a_session(
    server: SessionServer, store: str, redis: RedisServer
) -> None:
    variables = {"STORE": redis.url if store == "redis" else store}
    async with (
        run_bridge(KEPT, {"SERVER": server.url, **variables}) as bridge,
    ):
        first = [{"role": "user", "content": "one"}]
        await bridge.request({"model": "m", "messages": first})
        second = [*first, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": "two"}]
        server.barrier = asyncio.Barrier(11)  # no request is answered before all have arrived
        responses = await asyncio.gather(
            *(bridge.request({"model": "m", "messages": second, "stream": bool(n % 2)}) for n in range(11))
        )
        for number, response in enumerate(responses):
            assert_response(response, "is fine", stream=bool(number % 2))
        used = [session for session, _ in server.turns[1:]]
        assert len(set(used)) == 11
        assert [(session, choice) for session, choice in server.turns[1:] if session == "s1"] == [
            ("s1", ["two"])
        ]
        assert all(
            choice == ["one", ANSWER, "two"] for session, choice in server.turns[1:] if session != "s1"
        )
        # All eleven conversations have the same key, so the last session replaces the others.
        await wait_until(lambda: is_true(lambda: len(server.open) == 1))
    assert server.violations == []
    assert len(server.open) == (1 if store == "redis" else 0)


async def test_the_next_turn_continues_the_session_immediately(server: SessionServer) -> None:
    async with run_bridge(KEPT, {"SERVER": server.url}) as bridge:
        messages: list[dict[str, str]] = []
        for turn in range(20):
            messages.append({"role": "user", "content": str(turn)})
            response = await bridge.request({"model": "m", "messages": messages, "stream": bool(turn % 2)})
            assert_response(response, "is fine", stream=bool(turn % 2))
            messages.append({"role": "assistant", "content": ANSWER})
        assert server.turns == [("s1", [str(turn)]) for turn in range(20)]
        assert server.open == {"s1"}
    assert server.closed == {"s1": 1}  # a session in memory is closed at shutdown
    assert server.violations == []


@pytest.mark.parametrize("behaviour", ["fails", "fails under 200", "says nothing", "breaks", "stalls"])
async def test_a_session_is_closed_after_a_failed_response(server: SessionServer, behaviour: str) -> None:
    async with run_bridge(KEPT, {"SERVER": server.url}) as bridge:
        turn = [
            {"role": "user", "content": "1"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "3"},
        ]
        for _ in range(2):
            assert_response(
                await bridge.request({"model": "m", "messages": turn, "user": behaviour}),
                behaviour,
                stream=False,
            )
        assert [session for session, _ in server.turns] == ["s1", "s2"]
        await wait_until(lambda: all_closed(server))
    assert server.violations == []


async def talk(bridge: RunningBridge, name: str, turns: int = 1) -> None:
    """Send this number of turns of a conversation."""
    messages: list[dict[str, str]] = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"{name} {turn}"})
        assert_response(await bridge.request({"model": "m", "messages": messages}), "is fine", stream=False)
        messages.append({"role": "assistant", "content": ANSWER})


async def test_the_oldest_sessions_over_the_maximum_are_closed(server: SessionServer) -> None:
    file = KEPT.replace("keep: conversation", "keep: conversation\n      most: 3")
    async with run_bridge(file, {"SERVER": server.url}) as bridge:
        for number in range(10):
            await talk(bridge, str(number), turns=2)
        await wait_until(lambda: is_true(lambda: server.open == {"s8", "s9", "s10"}))
    assert await all_closed(server)
    assert server.violations == []


async def test_idle_sessions_are_closed_after_their_ttl(server: SessionServer) -> None:
    file = KEPT.replace("keep: conversation", "keep: conversation\n      ttl: 50ms")
    async with run_bridge(file, {"SERVER": server.url}) as bridge:
        for number in range(10):
            await talk(bridge, str(number))
        await wait_until(lambda: all_closed(server))
        assert server.opened == 10
    assert server.violations == []


async def test_a_hanging_close_call_does_not_delay_shutdown(
    server: SessionServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.sessions.pool._CLOSE_TIMEOUT", 0.2)
    file = KEPT.replace("path: /close", "path: /hang")
    async with run_bridge(file, {"SERVER": server.url}) as bridge:
        for number in range(3):
            await talk(bridge, str(number))
    assert server.hung == 3


async def test_a_session_acquired_after_a_disconnect_is_closed(
    server: SessionServer, redis: RedisServer
) -> None:
    async with (
        run_bridge(KEPT, {"SERVER": server.url, "STORE": redis.url}) as bridge,
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
        await wait_until(lambda: all_closed(server))
    assert (server.opened, server.violations) == (1, [])
