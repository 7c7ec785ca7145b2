"""Servers that close their idle connections at the worst moment: no client hears of it.

A request may be sent again only where nothing of an answer to it was said, and only once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.raw_client import HELLO, run_bridge
from tests.raw_upstream import Connection, head, http_response, responder, run_upstream
from tests.upstream.certificates import run_bridge_from_file
from tests.upstream.daemons import nginx, secured
from tests.upstream.formats import DONE, completion, frame, is_stream, stream_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.raw_client import RunningBridge
    from tests.raw_upstream import Request

    Behave = Callable[[Connection], Awaitable[None]]
    Ending = Callable[[Connection], Awaitable[Request | None]]

ON_BOTH_LOOPS = True

PLAIN = "routes: [{models: m, upstream: {url: '${UPSTREAM}', tls: {verify: false}}}]"
GOOD = http_response(completion("hello"))
CLIENTS = 6


def reset(peer: Connection) -> None:
    """Close the connection by a reset, whether or not all was read."""
    wire = peer._writer.get_extra_info("socket")
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.abort()


def said(request: Request) -> str:
    text: str = request.body["messages"][0]["content"]
    return text.partition(" ")[0]


def echoing(ending: Ending, answered: Counter[str]) -> Behave:
    """Answers each request by its own first word, until the ending gives no further one."""

    async def behave(peer: Connection) -> None:
        request = await peer.request()
        while request is not None:
            answered[said(request)] += 1
            if is_stream(request):
                await peer.send(stream_response(frame(said(request)), DONE))
            else:
                await peer.send(http_response(completion(said(request))))
            request = await ending(peer)

    return behave


async def patient(peer: Connection, milliseconds: int) -> Request | None:
    try:
        async with asyncio.timeout(milliseconds / 1000):
            return await peer.request()
    except TimeoutError:
        return None


async def closes_when_idle(peer: Connection) -> Request | None:
    return await patient(peer, peer.number % 4)


async def resets_when_idle(peer: Connection) -> Request | None:
    request = await patient(peer, peer.number % 4)
    if request is None:
        reset(peer)
    return request


async def closes_at_once(peer: Connection) -> None:
    """Behind an answer that did not say so."""


async def reads_and_closes(peer: Connection) -> None:
    await peer.request()


async def reads_and_resets(peer: Connection) -> None:
    await peer.request()
    reset(peer)


async def reads_a_little_and_closes(peer: Connection) -> None:
    await peer.read(20)


async def reads_a_little_and_resets(peer: Connection) -> None:
    await peer.read(20)
    reset(peer)


ENDINGS: list[Ending] = [
    closes_when_idle,
    resets_when_idle,
    closes_at_once,
    reads_and_closes,
    reads_and_resets,
    reads_a_little_and_closes,
    reads_a_little_and_resets,
]


async def ask_much(bridge: RunningBridge, requests: int) -> Counter[str]:
    """So many of each of several clients, with pauses as long as the servers' patience; what was asked."""
    asked: Counter[str] = Counter()

    async def ask(client: int) -> None:
        for number in range(requests):
            word = f"{client}-{number}"
            asked[word] += 1
            text = word + " " * (100_000 if number % 10 == 0 else 10)
            body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": text}]}
            if number % 3 == 0:
                answer = await bridge.request({**body, "stream": True})
                assert answer.stream().choice.text == word
            else:
                assert (await bridge.request(body)).completion().choice.text == word
            await asyncio.sleep((client + number) % 4 / 1000)

    async with asyncio.TaskGroup() as group:
        for client in range(CLIENTS):
            group.create_task(ask(client))
    assert await bridge.count("bridge_upstream_errors_total") == 0
    return asked


@pytest.mark.parametrize("ending", ENDINGS)
async def test_no_client_hears_of_a_connection_that_closes(ending: Ending) -> None:
    answered: Counter[str] = Counter()
    async with (
        run_upstream(echoing(ending, answered)) as server,
        run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge,
    ):
        asked = await ask_much(bridge, 50)
        assert answered == asked, "each is answered, and once"
        assert server.connections > 10


NGINX = ["keepalive_timeout 0", "keepalive_timeout 1ms", "keepalive_timeout 3ms"]
NGINX += [f"keepalive_requests {number}" for number in (1, 2, 3)]


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("line", NGINX)
async def test_no_client_hears_of_the_patience_of_nginx(line: str, *, secure: bool, tmp_path: Path) -> None:
    answered: Counter[str] = Counter()
    text = f"{line}; lingering_close off;"
    async with run_upstream(echoing(Connection.request, answered)) as model:
        begun = (
            secured(tmp_path, model.url, server=text)
            if secure
            else nginx(tmp_path / "nginx", f"{text} location / {{ proxy_pass {model.url}; }}")
        )
        async with begun as server:
            url = f"http{'s' if secure else ''}://127.0.0.1:{server.port}/"
            async with run_bridge_from_file(tmp_path, PLAIN, {"UPSTREAM": url}) as bridge:
                asked = await ask_much(bridge, 20)
            assert answered == asked
            served = await server.served(len(asked))
            assert len({one.connection for one in served}) > 10


BEGUN = [
    b"H",
    b"HTTP/1.1 200",
    head(200)[:-4],
    head(200, content_length="99")[:-2],
    head(200, content_length="99"),
]


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("begun", BEGUN)
async def test_an_answer_that_began_is_not_asked_for_again(begun: bytes, *, resets: bool) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(GOOD)
        await peer.request()
        await peer.send(begun)
        await asyncio.sleep(0.05)  # a reset may overtake what was said, and take it along
        if resets:
            reset(peer)

    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).status == 200
        answer = await bridge.request(HELLO)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_disconnect")
        assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("idle", [1, 5])
async def test_a_request_is_sent_again_only_once(idle: int, *, resets: bool) -> None:
    """A server that answers nobody any more, on what connection ever, is a failure."""
    broken = False

    async def behave(peer: Connection) -> None:
        while await peer.request() and not broken:
            await asyncio.sleep(0.05)  # so that the first requests are under way at once
            await peer.send(GOOD)
        if resets:
            reset(peer)

    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        await asyncio.gather(*(bridge.request(HELLO) for _ in range(idle)))
        assert (server.connections, len(server.requests)) == (idle, idle)
        broken = True
        answer = await bridge.request(HELLO)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_disconnect")
        assert (server.connections, len(server.requests)) == (idle + 1, idle + 2)


POISON = http_response(completion("what was not asked for"))
UNASKED = {
    "a refusal": (http_response({"error": {"message": "too slow"}}, 408, connection="close"), False),
    "a refusal, and the end": (
        http_response({"error": {"message": "too slow"}}, 408, connection="close"),
        True,
    ),
    "another answer": (POISON, False),
    "half of one": (POISON[:-20], False),
    "half a head": (POISON[:20], False),
    "noise": (b"\0\r\n\r\n", False),
    "more than it said": (b"}\n", False),
}


@pytest.mark.parametrize("case", UNASKED)
async def test_what_comes_on_an_idle_connection_is_nobodys_answer(case: str) -> None:
    data, ends = UNASKED[case]

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(GOOD)
        if peer.number == 1:
            await asyncio.sleep(0.05)
            await peer.send(data)
            if ends:
                return
        while await peer.request():
            await peer.send(GOOD)

    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        await asyncio.sleep(0.1)
        for _ in range(3):
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert await bridge.count("bridge_upstream_errors_total") == 0


async def test_what_follows_an_answer_at_once_is_nobodys_answer() -> None:
    async with (
        run_upstream(responder(GOOD + POISON)) as server,
        run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge,
    ):
        for number in range(1, 4):
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
            assert server.connections == number
