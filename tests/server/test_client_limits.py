"""Limits of clients' connections: their number, and clients that read nothing of their response."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import sys
import tracemalloc
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from bridge.server.descriptors import affordable_connections, raise_descriptor_limit
from tests.bridge_process import FREE_PORTS, run_process
from tests.raw_client import HELLO, Client
from tests.raw_upstream import Connection, chunk, http_response, responder, run_upstream
from tests.running_bridge import RunningBridge, run_bridge, wait_until
from tests.server.raw_requests import raw_request
from tests.upstream.formats import DONE, completion, frame, stream_head

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ON_BOTH_LOOPS = True

MODELS = raw_request(method="GET", target="/v1/models", body=b"")


def routes(limits: str, more: str = "") -> str:
    return f"server: {{limits: {{{limits}}}}}\nroutes: [{{models: m, upstream: '${{UPSTREAM}}'{more}}}]\n"


async def opened(bridge: RunningBridge, stack: AsyncExitStack, number: int) -> list[Client]:
    """Connect clients one after the other, and wait until each has had a response."""
    clients = [await stack.enter_async_context(bridge.connect()) for _ in range(number)]
    for client in clients:
        await client.write(MODELS)
        assert (await client.response()).status == 200
    return clients


async def test_the_oldest_idle_connection_makes_room_for_a_new_one() -> None:
    async with (
        run_bridge(routes("connections: 3"), {"UPSTREAM": "http://127.0.0.1:1"}) as bridge,
        AsyncExitStack() as stack,
    ):
        first, *others = await opened(bridge, stack, 3)
        (latest,) = await opened(bridge, stack, 1)
        assert await first.at_end()
        for client in (*others, latest):
            await client.write(MODELS)
            assert (await client.response()).status == 200


async def test_silent_connections_do_not_shut_others_out() -> None:
    async with (
        run_bridge(routes("connections: 40"), {"UPSTREAM": "http://127.0.0.1:1"}) as bridge,
        AsyncExitStack() as stack,
    ):
        for _ in range(200):
            await stack.enter_async_context(bridge.connect())
        await opened(bridge, stack, 5)


async def test_a_connection_is_refused_while_all_others_have_requests() -> None:
    release = asyncio.Event()

    async def slow(peer: Connection) -> None:
        while await peer.request():
            await release.wait()
            await peer.send(http_response(completion("hello")))

    async with (
        run_upstream(slow) as server,
        run_bridge(routes("connections: 2"), {"UPSTREAM": server.url}) as bridge,
        bridge.connect() as one,
        bridge.connect() as two,
    ):
        for client in (one, two):
            await client.send(HELLO)
        await server.wait_until(lambda server: len(server.requests) == 2)
        async with bridge.connect() as third:
            response = await third.response()
            assert (response.status, response.error()["code"]) == (503, "too_many_connections")
            assert response.headers["retry-after"] == "1"
            assert await third.at_end()
        assert (await bridge.get_admin("/healthz")).status == 200
        release.set()
        assert [(await client.response()).status for client in (one, two)] == [200, 200]
        one.writer.close()

        async def has_room() -> bool:
            return (await bridge.request(method="GET", path="/v1/models")).status == 200

        await wait_until(has_room)


async def test_a_client_that_reads_nothing_of_a_stream_is_disconnected() -> None:
    cancelled = asyncio.Event()

    async def endless(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head())
        try:
            while True:
                await peer.send(chunk(frame("x" * 10_000)))
        finally:
            cancelled.set()

    text = routes("send: 300ms", ", limits: {concurrency: 1, queue: 0}")
    async with run_upstream(endless) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        async with bridge.connect(buffer=4096) as stuck:
            await stuck.send({**HELLO, "stream": True})
            await server.wait_until(lambda server: len(server.requests) == 1)
            assert (await bridge.request(HELLO)).status == 429
            await cancelled.wait()
            await bridge.wait_for_count(1, "bridge_client_disconnects_total", route="m")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await stuck.reader.readexactly(2**30)
        async with bridge.connect() as other:  # the slot is free again
            await other.send({**HELLO, "stream": True})
            assert (await other.head())[0] == 200


async def test_a_client_that_reads_nothing_of_a_completion_is_disconnected() -> None:
    async def has_room() -> bool:
        return (await bridge.request(method="GET", path="/v1/models")).status == 200

    big = http_response(completion("x" * 20_000_000))
    async with (
        run_upstream(responder(big)) as server,
        run_bridge(routes("connections: 1, send: 300ms"), {"UPSTREAM": server.url}) as bridge,
        bridge.connect(buffer=4096) as stuck,
    ):
        await stuck.send(HELLO)
        await bridge.wait_for_count(1, "bridge_requests_total", route="m")
        assert not await has_room()
        await wait_until(has_room)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await stuck.reader.readexactly(2**30)


async def test_a_client_that_reads_slowly_is_served() -> None:
    text = routes("send: 300ms")

    async def long(peer: Connection) -> None:
        while await peer.request():
            await peer.send(stream_head() + chunk(frame("x" * 100_000)) * 60 + chunk(DONE) + chunk(b""))

    async with (
        run_upstream(long) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
        bridge.connect(buffer=4096) as slow,
    ):
        await slow.send({**HELLO, "stream": True})
        await slow.head()
        for _ in range(20):  # several times as long as the timeout
            await slow.chunk()
            await asyncio.sleep(0.06)
        assert DONE in b"".join([piece async for piece in slow.chunks()])[-20:]


async def test_the_bodies_of_waiting_requests_are_bounded_together() -> None:
    release = asyncio.Event()

    async def slow(peer: Connection) -> None:
        while await peer.request():
            await release.wait()
            await peer.send(http_response(completion("hello")))

    body = json.dumps({**HELLO, "user": "x" * 200_000}).encode()
    pipeline = raw_request() + raw_request(body=body) * 30
    async with run_upstream(slow) as server, run_bridge(routes(""), {"UPSTREAM": server.url}) as bridge:
        loop = asyncio.get_running_loop()
        with socket.socket() as raw:
            raw.setblocking(False)
            await loop.sock_connect(raw, bridge.front)
            tracemalloc.start()
            sending = asyncio.ensure_future(loop.sock_sendall(raw, pipeline))
            await server.wait_until(lambda server: len(server.requests) == 1)
            await asyncio.sleep(0.3)  # for the bodies that arrive meanwhile
            size, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            release.set()
            responses = b""
            while responses.count(b"HTTP/1.1 200") < 31:
                piece = await loop.sock_recv(raw, 65536)
                assert piece
                responses += piece
            await sending
        assert size < 1_500_000  # 256 KiB of bodies, one more body, and one read; 6 MB were sent
        assert [len(request.data) for request in server.requests[1:]] == [len(body)] * 30


@pytest.fixture
def open_files() -> Iterator[tuple[int, int]]:
    """Return the limits of open files, and restore them afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_descriptors_bound_the_connections(
    open_files: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    _, hard = open_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    with caplog.at_level("WARNING", "bridge"):
        assert affordable_connections(448) == 448
        assert not caplog.records
        assert affordable_connections(449) == 448
    assert [record.getMessage() for record in caplog.records] == [
        "fewer connections than configured: the limit of open files is too low"
    ]


def test_the_soft_limit_of_descriptors_is_raised_to_the_hard_limit(open_files: tuple[int, int]) -> None:
    _, hard = open_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    for _ in range(2):
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


SILENT_CLIENTS = """
import socket, sys
sockets = []
for _ in range(int(sys.argv[2])):
    sockets.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
print("connected", flush=True)
sys.stdin.read()
"""


async def test_the_admin_port_responds_while_clients_use_up_descriptors(open_files: tuple[int, int]) -> None:
    _, hard = open_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    async with run_bridge(routes("connections: 4096"), {"UPSTREAM": "http://127.0.0.1:1"}) as bridge:
        clients = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SILENT_CLIENTS, str(bridge.front[1]), "500", stdin=PIPE, stdout=PIPE,
            preexec_fn=raise_descriptor_limit,
        )  # fmt: skip
        assert clients.stdout is not None
        assert await clients.stdout.readline() == b"connected\n"
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await bridge.get_admin(path)).status == 200
        assert (await bridge.request(method="GET", path="/v1/models")).status == 200
        clients.kill()
        await clients.communicate()


async def test_serving_raises_the_limit_of_descriptors(tmp_path: Path, open_files: tuple[int, int]) -> None:
    _, hard = open_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    text = "routes: [{models: m, upstream: 'http://127.0.0.1:1'}]"
    async with run_process(tmp_path, text, *FREE_PORTS) as bridge:
        assert resource.prlimit(bridge.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
