"""The bridge as a process: where it listens, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.raw_client import HELLO, Answer, counted, until
from tests.raw_upstream import Peer, answering, chunk, upstream, whole
from tests.server.processes import CHECKOUT, call, served
from tests.upstream.formats import DONE, completion, frame, streaming

if TYPE_CHECKING:
    from pathlib import Path

FREE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
GOOD = whole(completion("hello"))


def routes(url: str, server: str = "") -> str:
    return f"server: {{{server}}}\nroutes: [{{name: r, models: m, upstream: {url}}}]\n"


async def test_it_says_where_it_listens_and_ends(tmp_path: Path) -> None:
    async with upstream(answering(GOOD)) as server, served(tmp_path, routes(server.url), *FREE) as running:
        front, admin = running.announced
        assert front == f"front listening on http://127.0.0.1:{running.front[1]}"
        assert admin == f"admin listening on http://127.0.0.1:{running.admin[1]}"
        assert (await running.ask(HELLO, headers={"X-Request-Id": "an-id"})).completion().said.text == "hello"
        assert (await running.see("/readyz")).status == 200
        assert await running.end() == 0
        assert await running.refuses()
        lines = [json.loads(line) for line in (await running.log()).splitlines()]
        assert [line["event"] for line in lines] == ["request", "draining"]
        assert lines[0]["id"] == "an-id"


async def test_interrupting_it_ends_it_too(tmp_path: Path) -> None:
    async with served(tmp_path, routes("http://127.0.0.1:1"), *FREE) as running:
        assert await running.end(signal.SIGINT) == 0
        assert "Traceback" not in await running.log()


async def test_flags_win_over_variables_and_these_over_the_file(tmp_path: Path) -> None:
    text = routes("http://127.0.0.1:1", "listen: '127.0.0.2:0', admin: '127.0.0.3:0'")
    variables = {"BRIDGE_LISTEN": "127.0.0.4:0", "BRIDGE_ADMIN": "127.0.0.5:0"}
    flags = ("--listen", "127.0.0.6:0", "--admin", "127.0.0.7:0")
    for given, environment, hosts in (
        ((), {"BRIDGE_ADMIN": "127.0.0.5:0"}, ("127.0.0.2", "127.0.0.5")),
        (flags[2:], {"BRIDGE_LISTEN": "127.0.0.4:0"}, ("127.0.0.4", "127.0.0.7")),
        (flags, variables, ("127.0.0.6", "127.0.0.7")),
    ):
        async with served(tmp_path, text, *given, environment=environment) as running:
            assert (running.front[0], running.admin[0]) == hosts
            assert (await running.see("/healthz")).status == 200


async def test_it_listens_on_ipv6(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    given = ("--listen", "[::1]:0", "--admin", "off")
    async with served(tmp_path, routes("http://127.0.0.1:1"), *given) as running:
        assert running.announced[0].startswith("front listening on http://[::1]:")


async def test_the_admin_port_can_be_off(tmp_path: Path) -> None:
    given = ("--listen", "127.0.0.1:0", "--admin", "off")
    async with served(tmp_path, routes("http://127.0.0.1:1"), *given) as running:
        assert (await running.ask(method="GET", path="/v1/models")).status == 200
        running.process.terminate()
        assert running.process.stdout is not None
        assert await running.process.stdout.read() == b"", "one address was told, there is no other"


async def streams_until(peer: Peer, go_on: asyncio.Event) -> None:
    while await peer.request():
        await peer.send(streaming() + chunk(frame("hello ")))
        await go_on.wait()
        await peer.send(chunk(frame("to the end")) + chunk(DONE) + chunk(b""))


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_it_drains(workers: str, tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with (
        upstream(lambda peer: streams_until(peer, go_on)) as server,
        served(tmp_path, routes(server.url), *FREE, "--workers", workers) as running,
        running.connect() as idle,
        running.connect() as client,
    ):
        await idle.send(method="GET", path="/v1/models")
        assert (await idle.answer()).status == 200
        await client.send({**HELLO, "stream": True})
        status, _ = await client.head()
        assert status == 200
        first = await client.piece()
        ended = asyncio.ensure_future(running.end())
        assert await idle.ended()  # a connection that does nothing is closed
        if workers == "1":  # of several, the one with the admin port may have ended already
            assert (await running.see("/readyz")).status == 503
        assert not ended.done()
        go_on.set()
        rest = b""
        while piece := await client.piece():
            rest += piece
        assert b"hello" in first
        assert b"to the end" in rest
        assert rest.endswith(DONE)
        assert await ended == 0


@pytest.mark.parametrize(
    "workers",
    ["1", "2"],
)
async def test_while_it_drains_no_new_connection_waits(workers: str, tmp_path: Path) -> None:
    async with (
        upstream(lambda peer: streams_until(peer, asyncio.Event())) as server,
        served(tmp_path, routes(server.url, "drain: 2s"), *FREE, "--workers", workers) as running,
        running.connect() as client,
    ):
        await client.send({**HELLO, "stream": True})
        await client.head()
        ended = asyncio.ensure_future(running.end())
        assert await client.reader.readuntil(b"hello")
        await asyncio.sleep(0.5)
        refused = not ended.done() and await running.refuses()
        client.writer.close()
        assert await ended == 0
        assert refused


@pytest.mark.parametrize("stream", [True, False])
async def test_what_outlasts_the_drain_has_an_honest_end(tmp_path: Path, *, stream: bool) -> None:
    async with upstream(lambda peer: streams_until(peer, asyncio.Event())) as server:
        text = routes(server.url, "drain: 300ms")
        async with served(tmp_path, text, *FREE) as running, running.connect() as client:
            await client.send({**HELLO, "stream": stream})
            await server.until(lambda server: len(server.requests) == 1)
            if stream:
                status, headers = await client.head()
                first = await client.piece()
            ended = asyncio.ensure_future(running.end())
            if stream:
                rest = b"".join([piece async for piece in client.pieces()])
                error = Answer(status, headers, first + rest, complete=True).stream().error
            else:
                answer = await client.answer()
                assert answer.status == 503
                error = answer.error()
            assert error is not None
            assert error["code"] == "shutting_down"
            assert await ended == 0


async def test_a_second_signal_does_no_harm(tmp_path: Path) -> None:
    async with served(tmp_path, routes("http://127.0.0.1:1"), *FREE) as running:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            if running.process.returncode is None:
                running.process.send_signal(number)
        assert await running.process.wait() == 0


async def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(routes("http://127.0.0.1:1"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        front = ("--listen", address, "--admin", "off")
        admin = ("--listen", "127.0.0.1:0", "--admin", address, "--workers", "2")
        for flags in (front, admin):
            code, out, errors = await call(tmp_path, "serve", *flags)
            assert code == 1
            assert out == ""
            assert "in use" in errors
            assert address.rpartition(":")[2] in errors
            assert errors.count("\n") == 1, "a sentence, no traceback"


@pytest.mark.parametrize("workers", ["0", "-1"])
async def test_no_workers_are_a_wrong_setting(workers: str, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(routes("http://127.0.0.1:1"))
    code, out, errors = await call(tmp_path, "serve", *FREE, environment={"BRIDGE_WORKERS": workers})
    assert (code, out) == (1, "")
    assert "BRIDGE_WORKERS" in errors


async def test_the_demo_answers_from_a_checkout(tmp_path: Path) -> None:
    async with served(CHECKOUT, None, "routes.yaml", "--demo", *FREE) as running:
        models = (await running.ask(method="GET", path="/v1/models")).json["data"]
        assert models
        for model in models:
            for stream in (False, True):
                body = {**HELLO, "model": model["id"], "stream": stream}
                answer = await running.ask(body)
                said = answer.stream().said if stream else answer.completion().said
                assert said.text
        assert await running.end() == 0


async def test_workers_share_the_front(tmp_path: Path) -> None:
    async with (
        upstream(answering(GOOD)) as server,
        served(tmp_path, routes(server.url), *FREE, "--workers", "2") as running,
    ):
        assert (await running.ask(HELLO)).status == 200
        workers = running.workers
        assert len(workers) == 2
        for stopped in workers:  # the other one answers
            os.kill(stopped, signal.SIGSTOP)
            for _ in range(3):
                assert (await running.ask(HELLO)).completion().said.text == "hello"
            os.kill(stopped, signal.SIGCONT)
        await running.until_counted(7, "bridge_requests_total", route="r", code="200")
        samples = await running.samples()
        assert counted(samples, "gen_ai_server_request_duration_seconds_count", route="r") == 7
        assert counted(samples, "bridge_requests_in_progress", route="r") == 0
        assert await running.end() == 0
        for worker in workers:
            with pytest.raises(ProcessLookupError):
                os.kill(worker, 0)
        assert "Traceback" not in await running.log()


async def test_metrics_wait_for_a_worker_that_is_making_its_file(tmp_path: Path) -> None:
    """Prometheus' library makes a file, then room in it: between the two nothing can be read there."""
    environment = {"TMPDIR": str(tmp_path)}
    async with served(
        tmp_path, routes("http://127.0.0.1:1"), *FREE, "--workers", "2", environment=environment
    ) as running:
        made = next(tmp_path.glob("bridge-metrics-*")) / "counter_1.db"  # noqa: ASYNC240 - a folder of ours
        made.touch()
        scrape = asyncio.ensure_future(running.see("/metrics"))
        await asyncio.sleep(0.1)
        assert not scrape.done()
        os.truncate(made, 1 << 16)
        assert (await scrape).status == 200


async def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with (
        upstream(lambda peer: streams_until(peer, go_on)) as server,
        served(tmp_path, routes(server.url), *FREE, "--workers", "2") as running,
        running.connect() as client,
    ):
        await client.send({**HELLO, "stream": True})
        await server.until(lambda server: len(server.requests) == 1)
        before = set(running.workers)
        for worker in before:
            os.kill(worker, signal.SIGKILL)

        async def replaced() -> bool:
            return len(set(running.workers) - before) == 2

        await until(replaced)
        go_on.set()
        assert (await running.ask({**HELLO, "stream": True})).stream().said.text == "hello to the end"

        async def idle() -> bool:  # those of the dead workers do not stay
            return await running.count("bridge_requests_in_progress") == 0

        await until(idle)
        assert await running.end() == 0
        assert "restarting worker" in await running.log()
