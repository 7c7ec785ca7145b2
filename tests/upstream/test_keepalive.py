"""Upstreams that close idle connections at the worst moment: no request reaches an upstream twice."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.raw_client import HELLO
from tests.raw_upstream import Connection, Handler, head, http_response, responder, run_upstream
from tests.running_bridge import run_bridge, run_bridge_from_file
from tests.upstream.daemons import nginx, secured
from tests.upstream.formats import DONE, completion, frame, is_stream, stream_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.raw_upstream import Request
    from tests.running_bridge import RunningBridge

    Ending = Callable[[Connection], Awaitable[Request | None]]

ON_BOTH_LOOPS = True

PLAIN = "routes: [{models: m, upstream: {url: '${UPSTREAM}', tls: {verify: false}}}]"
GOOD = http_response(completion("hello"))
CLIENTS = 6


def reset(peer: Connection) -> None:
    """Close the connection by a reset, with or without unread data."""
    raw_socket = peer._writer.get_extra_info("socket")
    raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.abort()


def first_word(request: Request) -> str:
    text: str = request.body["messages"][0]["content"]
    return text.partition(" ")[0]


def echo_server(ending: Ending) -> Handler:
    """Return a handler that responds with the first word of each request, until the ending returns None."""

    async def behave(peer: Connection) -> None:
        request = await peer.request()
        while request is not None:
            if is_stream(request):
                await peer.send(stream_response(frame(first_word(request)), DONE))
            else:
                await peer.send(http_response(completion(first_word(request))))
            request = await ending(peer)

    return behave


async def request_within(peer: Connection, milliseconds: int) -> Request | None:
    try:
        async with asyncio.timeout(milliseconds / 1000):
            return await peer.request()
    except TimeoutError:
        return None


async def closes_when_idle(peer: Connection) -> Request | None:
    return await request_within(peer, peer.number % 4)


async def resets_when_idle(peer: Connection) -> Request | None:
    request = await request_within(peer, peer.number % 4)
    if request is None:
        reset(peer)
    return request


async def closes_at_once(peer: Connection) -> None:
    """Close after a response that did not announce the end of the connection."""


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


async def send_requests(bridge: RunningBridge, requests: int) -> tuple[set[str], set[str]]:
    """Send requests of several clients with pauses near the idle timeouts.

    Return the words of those that succeeded, and of those whose connection was closed meanwhile.
    """
    succeeded: set[str] = set()
    lost: set[str] = set()

    async def send_in_sequence(client: int) -> None:
        for number in range(requests):
            word = f"{client}-{number}"
            text = word + " " * (100_000 if number % 10 == 0 else 10)
            body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": text}]}
            response = await bridge.request({**body, "stream": number % 3 == 0})
            if response.status != 200:
                assert response.error()["code"] == "upstream_disconnect"
                lost.add(word)
                continue
            received = response.stream() if number % 3 == 0 else response.completion()
            assert received.choice.text == word
            succeeded.add(word)
            await asyncio.sleep((client + number) % 4 / 1000)

    async with asyncio.TaskGroup() as group:
        for client in range(CLIENTS):
            group.create_task(send_in_sequence(client))
    assert await bridge.count("bridge_upstream_errors_total") == len(lost)
    return succeeded, lost


@pytest.mark.parametrize("ending", ENDINGS)
async def test_no_request_is_sent_twice(ending: Ending) -> None:
    async with (
        run_upstream(echo_server(ending)) as server,
        run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge,
    ):
        succeeded, lost = await send_requests(bridge, 50)
        received = Counter(map(first_word, server.requests))
        assert set(received.values()) == {1}
        assert succeeded <= set(received) <= succeeded | lost
        assert succeeded
        if ending is closes_at_once:
            assert not lost
        assert server.connections > 10


NGINX = ["keepalive_timeout 0", "keepalive_timeout 1ms", "keepalive_timeout 3ms"]
NGINX += [f"keepalive_requests {number}" for number in (1, 2, 3)]


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("line", NGINX)
async def test_no_request_is_sent_twice_to_nginx(line: str, *, secure: bool, tmp_path: Path) -> None:
    text = f"{line}; lingering_close off;"
    async with run_upstream(echo_server(Connection.request)) as model:
        partial = (
            secured(tmp_path, model.url, server=text)
            if secure
            else nginx(tmp_path / "nginx", f"{text} location / {{ proxy_pass {model.url}; }}")
        )
        async with partial as server:
            url = f"http{'s' if secure else ''}://127.0.0.1:{server.port}/"
            async with run_bridge_from_file(tmp_path, PLAIN, {"UPSTREAM": url}) as bridge:
                succeeded, lost = await send_requests(bridge, 20)
            received = Counter(map(first_word, model.requests))
            assert set(received.values()) == {1}
            assert succeeded <= set(received) <= succeeded | lost
            if not line.endswith("ms"):  # nginx announces the close
                assert not lost
            served = await server.served(len(received))
            assert len({request.connection for request in served}) > 10


PARTIAL_RESPONSES = [
    b"H",
    b"HTTP/1.1 200",
    head(200)[:-4],
    head(200, content_length="99")[:-2],
    head(200, content_length="99"),
]


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("partial", PARTIAL_RESPONSES)
async def test_a_request_with_a_partial_response_is_not_retried(partial: bytes, *, resets: bool) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(GOOD)
        await peer.request()
        await peer.send(partial)
        await asyncio.sleep(0.05)  # a reset may overtake and discard the data
        if resets:
            reset(peer)

    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).status == 200
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["code"]) == (502, "upstream_disconnect")
        assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("idle", [1, 5])
async def test_a_lost_request_is_not_retried(idle: int, *, resets: bool) -> None:
    broken = False

    async def behave(peer: Connection) -> None:
        while await peer.request() and not broken:
            await asyncio.sleep(0.05)  # so that the first requests are in flight together
            await peer.send(GOOD)
        if resets:
            reset(peer)

    async with run_upstream(behave) as server, run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge:
        await asyncio.gather(*(bridge.request(HELLO) for _ in range(idle)))
        assert (server.connections, len(server.requests)) == (idle, idle)
        broken = True
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["code"]) == (502, "upstream_disconnect")
        assert (server.connections, len(server.requests)) == (idle, idle + 1)


POISON = http_response(completion("an unrequested response"))
UNREQUESTED = {
    "a refusal": (http_response({"error": {"message": "too slow"}}, 408, connection="close"), False),
    "a refusal and a close": (
        http_response({"error": {"message": "too slow"}}, 408, connection="close"),
        True,
    ),
    "another response": (POISON, False),
    "half a response": (POISON[:-20], False),
    "half a head": (POISON[:20], False),
    "noise": (b"\0\r\n\r\n", False),
    "more than its length": (b"}\n", False),
}


@pytest.mark.parametrize("case", UNREQUESTED)
async def test_data_on_an_idle_connection_is_not_a_response(case: str) -> None:
    data, ends = UNREQUESTED[case]

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


async def test_data_after_a_response_is_not_a_response() -> None:
    async with (
        run_upstream(responder(GOOD + POISON)) as server,
        run_bridge(PLAIN, {"UPSTREAM": server.url}) as bridge,
    ):
        for number in range(1, 4):
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
            assert server.connections == number
