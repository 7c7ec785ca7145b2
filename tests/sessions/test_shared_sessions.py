"""Two bridges before one server, and the Redis between them: a conversation goes on at either."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.demo import serving
from tests.clients.bridge_process import Bridge, running
from tests.clients.replay_server import in_background
from tests.raw_client import sum_samples
from tests.sessions.session_server import ANSWER, ROUTE, Counting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.sessions.conftest import RedisServer

_PATIENCE = 20.0  # seconds
_LOST = "bridge_session_store_failures_total"


class Talk:
    """One conversation, as its client has it."""

    def __init__(self, name: str) -> None:
        self.messages: list[dict[str, str]] = []
        self.name = name

    def turn(self, bridge: Bridge) -> None:
        """Say one thing, and hear the answer."""
        self.messages.append({"role": "user", "content": f"{self.name} {len(self.messages)}"})
        answer = bridge.ask("m", messages=self.messages)
        assert answer.status == 200, answer
        said = answer.doc["choices"][0]["message"]["content"]
        assert said == ANSWER
        self.messages.append({"role": "assistant", "content": said})

    @property
    def whole(self) -> list[str]:
        """All that was said, but the last answer."""
        return [message["content"] for message in self.messages[:-1]]

    @property
    def new(self) -> list[str]:
        """What was said last."""
        return self.whole[-1:]


@pytest.fixture
def server() -> Counting:
    return Counting()


@pytest.fixture
def start(tmp_path: Path, server: Counting, redis: RedisServer) -> Iterator[Callable[..., Any]]:
    """Starts as many bridges; `more` are keys of the session, `warns` is what each must warn of."""
    file = tmp_path / "routes.yaml"

    @contextmanager
    def started(number: int, more: str = "", warns: tuple[str, ...] = ()) -> Iterator[list[Bridge]]:
        keys = f"    keep: conversation\n      store: ${{STORE}}\n{more}    request:"
        file.write_text("routes:" + ROUTE.replace("    request:", "  " + keys, 1))
        with ExitStack() as stack:
            variables = {"SERVER": url, "STORE": redis.url}
            yield [
                stack.enter_context(running(file, variables=variables, warns=warns)) for _ in range(number)
            ]

    with in_background(serving(server.application())) as url:
        yield started


def lost(bridge: Bridge) -> float:
    """How often a bridge could not reach its store."""
    text = Bridge(bridge.admin, bridge.admin).send("GET", "/metrics").body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum_samples(samples, _LOST, route="m")


def test_a_conversation_goes_on_at_the_other_bridge_and_after_a_restart(
    start: Callable[..., Any], server: Counting
) -> None:
    one, other = Talk("one"), Talk("other")
    with start(2) as bridges:
        for number in range(6):
            one.turn(bridges[number % 2])
            assert server.said[-1] == ("s1", one.new)
        other.turn(bridges[0])
        assert server.said[-1] == ("s2", other.whole)
        one.turn(bridges[0])
        assert server.said[-1] == ("s1", one.new)
        assert [lost(bridge) for bridge in bridges] == [0, 0]
    assert server.open == {"s1", "s2"}
    with start(1) as [bridge]:
        other.turn(bridge)
        assert server.said[-1] == ("s2", other.new)
    assert (server.opened, server.wrong) == (2, [])


def test_a_store_that_is_lost_costs_a_session_and_never_an_answer(
    start: Callable[..., Any], server: Counting, redis: RedisServer
) -> None:
    talk = Talk("one")
    with start(1, warns=("session store lost",)) as [bridge]:
        talk.turn(bridge)
        talk.turn(bridge)
        assert server.said[-1] == ("s1", talk.new)
        redis.kill()
        for number in (2, 3):
            talk.turn(bridge)
            assert server.said[-1] == (f"s{number}", talk.whole)
            # Nobody could find it again, so it is closed.
            assert server.until(lambda number=number: server.closed[f"s{number}"] == 1)  # type: ignore[misc]
        assert lost(bridge) >= 4  # looked for and kept, twice; those who sweep may have tried too
        redis.start()
        deadline = time.monotonic() + _PATIENCE
        while server.said[-1][1] != talk.new:  # the store is not asked again at once
            assert time.monotonic() < deadline
            talk.turn(bridge)
        talk.turn(bridge)
        assert server.said[-1] == (f"s{server.opened}", talk.new)
    assert server.open == {"s1", f"s{server.opened}"}  # s1 was forgotten with the Redis
    assert server.wrong == []


def test_a_store_that_says_nothing_is_a_lost_one(
    start: Callable[..., Any], server: Counting, redis: RedisServer
) -> None:
    talk = Talk("one")
    with start(1, warns=("session store lost",)) as [bridge]:
        talk.turn(bridge)
        redis.stop()
        talk.turn(bridge)
        assert server.said[-1] == ("s2", talk.whole)
        assert lost(bridge) >= 2
        redis.kill()


def test_what_is_too_many_is_closed_once(start: Callable[..., Any], server: Counting) -> None:
    talks = [Talk(str(number)) for number in range(6)]
    with start(2, "      most: 2\n") as bridges:
        for number, talk in enumerate(talks):
            talk.turn(bridges[number % 2])
        assert server.until(lambda: sum(server.closed.values()) == 4)
        assert server.open == {"s5", "s6"}  # those that idled longest made room
        talks[0].turn(bridges[0])
        assert server.said[-1] == ("s7", talks[0].whole)
        talks[5].turn(bridges[0])
        assert server.said[-1] == ("s6", talks[5].new)
        assert server.until(lambda: server.open == {"s6", "s7"})
    assert set(server.closed.values()) == {1}
    assert server.wrong == []


def test_what_idles_too_long_is_closed_once_though_two_bridges_look(
    start: Callable[..., Any], server: Counting, redis: RedisServer
) -> None:
    with start(2, "      ttl: 300ms\n") as bridges:
        talks = [Talk(str(number)) for number in range(40)]
        for number, talk in enumerate(talks):
            talk.turn(bridges[number % 2])
        assert server.until(lambda: sum(server.closed.values()) == 40)
        talks[0].turn(bridges[0])
        assert server.said[-1] == ("s41", talks[0].whole)
        assert redis.said("HLEN", "bridge:sessions:{m}:values") in (b":0\r\n", b":1\r\n")
    assert set(server.closed.values()) == {1}
    assert server.wrong == []


def test_what_a_stranger_wrote_is_no_session(
    start: Callable[..., Any], server: Counting, redis: RedisServer
) -> None:
    talk = Talk("one")
    with start(1) as [bridge]:
        talk.turn(bridge)
        names = redis.said("KEYS", "*:values").split(b"\r\n")
        [name] = [line.decode() for line in names if line.startswith(b"bridge:")]
        for rubbish in ("rubbish", "{}", '{"id": 1, "replica": "x", "members": 5}', "[1]", ""):
            [_, _, key, *_] = redis.said("HKEYS", name).decode().split("\r\n")
            redis.said("HSET", name, key, f"'{rubbish}'")
            talk.turn(bridge)
            assert server.said[-1] == (f"s{server.opened}", talk.whole)
        assert server.opened == 6
    assert server.wrong == []
