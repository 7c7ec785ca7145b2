"""Sessions shared by two bridges through Redis: conversations continue at either bridge."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from bridge.demo import serving
from tests.background_loop import in_background, wait_blocking
from tests.bridge_process import BridgeProcess, running
from tests.sessions.session_server import ANSWER, ROUTE, SessionServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.sessions.conftest import RedisServer

_TIMEOUT = 20.0  # seconds
_STORE_FAILURES = "bridge_session_store_failures_total"


class Conversation:
    """A conversation as a client holds it."""

    def __init__(self, name: str) -> None:
        self.messages: list[dict[str, str]] = []
        self.name = name

    def turn(self, bridge: BridgeProcess) -> None:
        """Send a message, and add the response."""
        self.messages.append({"role": "user", "content": f"{self.name} {len(self.messages)}"})
        response = bridge.ask("m", messages=self.messages)
        assert response.status == 200, response
        text = response.json["choices"][0]["message"]["content"]
        assert text == ANSWER
        self.messages.append({"role": "assistant", "content": text})

    @property
    def all_texts(self) -> list[str]:
        """Return all texts except the last response."""
        return [message["content"] for message in self.messages[:-1]]

    @property
    def new_texts(self) -> list[str]:
        """Return the last message of the user."""
        return self.all_texts[-1:]


@pytest.fixture
def server() -> SessionServer:
    return SessionServer()


@pytest.fixture
def start(tmp_path: Path, server: SessionServer, redis: RedisServer) -> Iterator[Callable[..., Any]]:
    """Yield a context manager that runs bridges with `more` keys of the session and expected warnings."""
    file = tmp_path / "routes.yaml"

    @contextmanager
    def started(number: int, more: str = "", warns: tuple[str, ...] = ()) -> Iterator[list[BridgeProcess]]:
        keys = f"    keep: conversation\n      store: ${{STORE}}\n{more}    request:"
        file.write_text("routes:" + ROUTE.replace("    request:", "  " + keys, 1))
        with ExitStack() as stack:
            variables = {"SERVER": url, "STORE": redis.url}
            yield [
                stack.enter_context(running(file, variables=variables, warns=warns)) for _ in range(number)
            ]

    with in_background(serving(server.application())) as url:
        yield started


def store_failures(bridge: BridgeProcess) -> float:
    """Return how often a bridge failed to reach its store."""
    return asyncio.run(bridge.count(_STORE_FAILURES, route="m"))


def test_a_conversation_continues_at_another_bridge_and_after_a_restart(
    start: Callable[..., Any], server: SessionServer
) -> None:
    first, second = Conversation("one"), Conversation("other")
    with start(2) as bridges:
        for number in range(6):
            first.turn(bridges[number % 2])
            assert server.turns[-1] == ("s1", first.new_texts)
        second.turn(bridges[0])
        assert server.turns[-1] == ("s2", second.all_texts)
        first.turn(bridges[0])
        assert server.turns[-1] == ("s1", first.new_texts)
        assert [store_failures(bridge) for bridge in bridges] == [0, 0]
    assert server.open == {"s1", "s2"}
    with start(1) as [bridge]:
        second.turn(bridge)
        assert server.turns[-1] == ("s2", second.new_texts)
    assert (server.opened, server.violations) == (2, [])


def test_a_lost_store_costs_sessions_but_no_responses(
    start: Callable[..., Any], server: SessionServer, redis: RedisServer
) -> None:
    conversation = Conversation("one")
    with start(1, warns=("session store unavailable",)) as [bridge]:
        conversation.turn(bridge)
        conversation.turn(bridge)
        assert server.turns[-1] == ("s1", conversation.new_texts)
        redis.kill()
        for number in (2, 3):
            conversation.turn(bridge)
            assert server.turns[-1] == (f"s{number}", conversation.all_texts)
            # The session could not be found again, so the session is closed.
            wait_blocking(partial(server.closed.get, f"s{number}"), f"s{number} is closed")
        assert store_failures(bridge) >= 4  # two acquires and two releases, and possibly sweeps
        redis.start()
        deadline = time.monotonic() + _TIMEOUT
        while server.turns[-1][1] != conversation.new_texts:  # the store is not tried again immediately
            assert time.monotonic() < deadline
            conversation.turn(bridge)
        conversation.turn(bridge)
        assert server.turns[-1] == (f"s{server.opened}", conversation.new_texts)
    assert server.open == {"s1", f"s{server.opened}"}  # s1 was lost with the Redis
    assert server.violations == []


def test_a_hanging_store_counts_as_lost(
    start: Callable[..., Any], server: SessionServer, redis: RedisServer
) -> None:
    conversation = Conversation("one")
    with start(1, warns=("session store unavailable",)) as [bridge]:
        conversation.turn(bridge)
        redis.stop()
        conversation.turn(bridge)
        assert server.turns[-1] == ("s2", conversation.all_texts)
        assert store_failures(bridge) >= 2
        redis.kill()


def test_sessions_over_the_maximum_are_closed_once(start: Callable[..., Any], server: SessionServer) -> None:
    conversations = [Conversation(str(number)) for number in range(6)]
    with start(2, "      most: 2\n") as bridges:
        for number, conversation in enumerate(conversations):
            conversation.turn(bridges[number % 2])
        wait_blocking(lambda: sum(server.closed.values()) == 4, "4 sessions are closed")
        assert server.open == {"s5", "s6"}  # the sessions that were idle longest are closed
        conversations[0].turn(bridges[0])
        assert server.turns[-1] == ("s7", conversations[0].all_texts)
        conversations[5].turn(bridges[0])
        assert server.turns[-1] == ("s6", conversations[5].new_texts)
        wait_blocking(lambda: server.open == {"s6", "s7"}, "s6 and s7 are open")
    assert set(server.closed.values()) == {1}
    assert server.violations == []


def test_idle_sessions_are_closed_once_by_two_bridges(
    start: Callable[..., Any], server: SessionServer, redis: RedisServer
) -> None:
    with start(2, "      ttl: 300ms\n") as bridges:
        conversations = [Conversation(str(number)) for number in range(40)]
        for number, conversation in enumerate(conversations):
            conversation.turn(bridges[number % 2])
        wait_blocking(lambda: sum(server.closed.values()) == 40, "40 sessions are closed")
        conversations[0].turn(bridges[0])
        assert server.turns[-1] == ("s41", conversations[0].all_texts)
        assert redis.said("HLEN", "bridge:sessions:{m}:values") in (b":0\r\n", b":1\r\n")
    assert set(server.closed.values()) == {1}
    assert server.violations == []


def test_invalid_values_in_redis_are_not_sessions(
    start: Callable[..., Any], server: SessionServer, redis: RedisServer
) -> None:
    conversation = Conversation("one")
    with start(1) as [bridge]:
        conversation.turn(bridge)
        names = redis.said("KEYS", "*:values").split(b"\r\n")
        [name] = [line.decode() for line in names if line.startswith(b"bridge:")]
        for value in ("invalid", "{}", '{"id": 1, "replica": "x", "members": 5}', "[1]", ""):
            [_, _, key, *_] = redis.said("HKEYS", name).decode().split("\r\n")
            redis.said("HSET", name, key, f"'{value}'")
            conversation.turn(bridge)
            assert server.turns[-1] == (f"s{server.opened}", conversation.all_texts)
        assert server.opened == 6
    assert server.violations == []
