"""Replicas that fail at random: no request is carried out twice, and nothing is left in use."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from bridge.proxy.replica_sets import ReplicaSets
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, Request, chunk, http_response, run_upstream
from tests.running_bridge import run_bridge, wait_until
from tests.upstream.formats import DONE, completion, frame, is_stream, stream_head, stream_response

if TYPE_CHECKING:
    import pytest

ON_BOTH_LOOPS = True

ROUTES = """
routes:
  - name: first
    models: m
    upstream:
      url: "${A}"
      replicas: [{url: "${B}", weight: 2}, "${C}"]
      balance: least-busy
      retry: {retries: 3, on: [connect, 503], backoff: 1ms, budget: 100%}
      evict: {after: 3, for: 50ms}
      timeouts: {first_byte: 300ms, idle: 300ms}
"""
CLIENTS, REQUESTS = 8, 25


class Server:
    """A server that does something at random with each request.

    Attributes:
        carried_out: The requests that were not refused with a 503, by their texts.
    """

    def __init__(self, chance: random.Random, carried_out: Counter[str]) -> None:
        self._chance = chance
        self.carried_out = carried_out

    async def behave(self, peer: Connection) -> None:
        if self._chance.random() < 0.1:
            return
        while (request := await peer.request()) is not None:
            act = self._chance.choice(["answer"] * 6 + ["busy", "busy", "close", "reset", "hang", "break"])
            if act != "busy":
                self.carried_out[text_of(request)] += 1
            if not await self._act(peer, request, act):
                return

    async def _act(self, peer: Connection, request: Request, act: str) -> bool:
        """Do something with a request. Return whether the connection remains open."""
        text = text_of(request)
        match act:
            case "answer" if is_stream(request):
                await peer.send(stream_response(frame(text), DONE))
            case "answer":
                await peer.send(http_response(completion(text)))
            case "busy":
                await peer.send(http_response({"error": "busy"}, 503))
            case "reset":
                peer.abort()
            case "hang":
                await peer.wait_closed()
            case "break":
                await peer.send(stream_head() + chunk(frame(text))[:-9])
        return act in ("answer", "busy")


def text_of(request: Request) -> str:
    text: str = request.body["messages"][0]["content"]
    return text


async def test_no_request_is_carried_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    sets: list[ReplicaSets] = []
    make = ReplicaSets.__init__

    def remember(self: ReplicaSets, *args: Any) -> None:
        make(self, *args)
        sets.append(self)

    monkeypatch.setattr(ReplicaSets, "__init__", remember)
    carried_out: Counter[str] = Counter()
    server = Server(random.Random(13), carried_out)
    statuses: Counter[int] = Counter()

    async def send(bridge: Any, client: int) -> None:
        for number in range(REQUESTS):
            text = f"{client}-{number}"
            body = {**HELLO, "messages": [{"role": "user", "content": text}], "stream": number % 2 == 0}
            response = await bridge.request(body)
            statuses[response.status] += 1
            if response.status == 200 and b"error" not in response.body:
                received = response.stream() if number % 2 == 0 else response.completion()
                assert received.choice.text == text
                assert carried_out[text] == 1

    async with (
        run_upstream(server.behave) as a,
        run_upstream(server.behave) as b,
        run_upstream(server.behave) as c,
        run_bridge(ROUTES, {"A": a.url, "B": b.url, "C": c.url}) as bridge,
    ):
        await asyncio.gather(*(send(bridge, client) for client in range(CLIENTS)))
        assert set(carried_out.values()) == {1}
        assert statuses[200] > 20
        assert len(statuses) > 1

        async def at_rest() -> bool:
            replicas = sets[0]._sets["first"][1].replicas
            return all(replica.in_flight == 0 and not replica.probing for replica in replicas)

        await wait_until(at_rest)
        await bridge.wait_for_count(0, "bridge_requests_in_progress")
