"""The bridge as a process: addresses, signals, drain and workers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from bridge.cli.serve import _announce, _Sockets
from bridge.loader import load_routes
from tests.bridge_process import ROOT, BridgeProcess, call, run_process
from tests.raw_client import HELLO, Response
from tests.raw_upstream import Connection, chunk, http_response, responder, run_upstream
from tests.running_bridge import sum_samples, wait_until
from tests.upstream.formats import DONE, completion, frame, stream_head

if TYPE_CHECKING:
    from pathlib import Path

FREE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
GOOD = http_response(completion("hello"))


def routes(url: str, server: str = "") -> str:
    return f"server: {{{server}}}\nroutes: [{{name: r, models: m, upstream: {url}}}]\n"


async def test_addresses_are_announced_and_sigterm_ends_the_process(tmp_path: Path) -> None:
    async with (
        run_upstream(responder(GOOD)) as server,
        run_process(tmp_path, routes(server.url), *FREE) as bridge,
    ):
        front, admin = bridge.announced
        assert front == f"front listening on http://127.0.0.1:{bridge.front[1]}"
        assert admin == f"admin listening on http://127.0.0.1:{bridge.admin[1]}"
        assert (
            await bridge.request(HELLO, headers={"X-Request-Id": "an-id"})
        ).completion().choice.text == "hello"
        assert (await bridge.get_admin("/readyz")).status == 200
        assert await bridge.end() == 0
        assert await bridge.refuses()
        lines = [json.loads(line) for line in (bridge.log()).splitlines()]
        lines = [line for line in lines if line["level"] == "info"]
        assert [line["event"] for line in lines] == ["request", "draining"]
        assert lines[0]["id"] == "an-id"


async def test_sigint_ends_the_process(tmp_path: Path) -> None:
    async with run_process(tmp_path, routes("http://127.0.0.1:1"), *FREE) as bridge:
        assert await bridge.end(signal.SIGINT) == 0
        assert "Traceback" not in bridge.log()


async def test_flags_override_variables_and_variables_the_file(tmp_path: Path) -> None:
    text = routes("http://127.0.0.1:1", "listen: '127.0.0.2:0', admin: '127.0.0.3:0'")
    variables = {"BRIDGE_LISTEN": "127.0.0.4:0", "BRIDGE_ADMIN": "127.0.0.5:0"}
    flags = ("--listen", "127.0.0.6:0", "--admin", "127.0.0.7:0")
    for arguments, environment, hosts in (
        ((), {"BRIDGE_ADMIN": "127.0.0.5:0"}, ("127.0.0.2", "127.0.0.5")),
        (flags[2:], {"BRIDGE_LISTEN": "127.0.0.4:0"}, ("127.0.0.4", "127.0.0.7")),
        (flags, variables, ("127.0.0.6", "127.0.0.7")),
    ):
        async with run_process(tmp_path, text, *arguments, environment=environment) as bridge:
            assert (bridge.front[0], bridge.admin[0]) == hosts
            assert (await bridge.get_admin("/healthz")).status == 200


async def test_the_front_may_listen_on_ipv6(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    arguments = ("--listen", "[::1]:0", "--admin", "off")
    async with run_process(tmp_path, routes("http://127.0.0.1:1"), *arguments) as bridge:
        assert bridge.announced[0].startswith("front listening on http://[::1]:")


async def test_the_admin_port_may_be_off(tmp_path: Path) -> None:
    arguments = ("--listen", "127.0.0.1:0", "--admin", "off")
    async with run_process(tmp_path, routes("http://127.0.0.1:1"), *arguments) as bridge:
        assert (await bridge.request(method="GET", path="/v1/models")).status == 200
        bridge.process.terminate()
        assert bridge.process.stdout is not None
        assert await bridge.process.stdout.read() == b"", "only one address is announced"


async def stream_until(peer: Connection, release: asyncio.Event) -> None:
    while await peer.request():
        await peer.send(stream_head() + chunk(frame("hello ")))
        await release.wait()
        await peer.send(chunk(frame("to the end")) + chunk(DONE) + chunk(b""))


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sigterm_drains_open_streams(workers: str, tmp_path: Path) -> None:
    release = asyncio.Event()
    async with (
        run_upstream(lambda peer: stream_until(peer, release)) as server,
        run_process(tmp_path, routes(server.url), *FREE, "--workers", workers) as bridge,
        bridge.connect() as idle,
        bridge.connect() as client,
    ):
        await idle.send(method="GET", path="/v1/models")
        assert (await idle.response()).status == 200
        await client.send({**HELLO, "stream": True})
        status, _ = await client.head()
        assert status == 200
        first = await client.chunk()
        ending = asyncio.ensure_future(bridge.end())
        assert await idle.at_end()  # an idle connection is closed
        if workers == "1":  # with several workers, the worker with the admin port may have ended already
            assert (await bridge.get_admin("/readyz")).status == 503
        assert not ending.done()
        release.set()
        rest = b""
        while piece := await client.chunk():
            rest += piece
        assert b"hello" in first
        assert b"to the end" in rest
        assert rest.endswith(DONE)
        assert await ending == 0


@pytest.mark.parametrize(
    "workers",
    ["1", "2"],
)
async def test_connections_are_refused_while_draining(workers: str, tmp_path: Path) -> None:
    async with (
        run_upstream(lambda peer: stream_until(peer, asyncio.Event())) as server,
        run_process(tmp_path, routes(server.url, "drain: 2s"), *FREE, "--workers", workers) as bridge,
        bridge.connect() as client,
    ):
        await client.send({**HELLO, "stream": True})
        await client.head()
        ending = asyncio.ensure_future(bridge.end())
        assert await client.reader.readuntil(b"hello")
        await asyncio.sleep(0.5)
        refused = not ending.done() and await bridge.refuses()
        client.writer.close()
        assert await ending == 0
        assert refused


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_requests_are_accepted_during_the_shutdown_delay(workers: str, tmp_path: Path) -> None:
    text = routes("http://127.0.0.1:1", "shutdown_delay: 1h")
    async with run_process(tmp_path, text, *FREE, "--workers", workers) as bridge:
        await bridge.ready()
        ending = asyncio.ensure_future(bridge.end())

        async def unready() -> bool:
            return (await bridge.get_admin("/readyz")).status == 503

        await wait_until(unready)
        assert (await bridge.get_admin("/healthz")).status == 200
        for _ in range(3):
            assert (await bridge.request(method="GET", path="/v1/models")).status == 200
        assert not ending.done()
        bridge.process.terminate()  # a second signal ends the delay
        assert await ending == 0
        assert shutdown_events(bridge) == ["shutdown requested"] * int(workers) + ["draining"] * int(workers)


async def test_the_shutdown_delay_ends_by_itself(tmp_path: Path) -> None:
    text = routes("http://127.0.0.1:1", "shutdown_delay: 200ms")
    async with run_process(tmp_path, text, *FREE) as bridge:
        assert await bridge.end() == 0
        assert shutdown_events(bridge) == ["shutdown requested", "draining"]


def shutdown_events(bridge: BridgeProcess) -> list[str]:
    """Return the events of the log that concern the shutdown."""
    events = [json.loads(line)["event"] for line in bridge.log().splitlines()]
    return [event for event in events if event in ("shutdown requested", "draining")]


@pytest.mark.parametrize("stream", [True, False])
async def test_requests_that_outlast_the_drain_end_with_an_error(tmp_path: Path, *, stream: bool) -> None:
    async with run_upstream(lambda peer: stream_until(peer, asyncio.Event())) as server:
        text = routes(server.url, "drain: 300ms")
        async with run_process(tmp_path, text, *FREE) as bridge, bridge.connect() as client:
            await client.send({**HELLO, "stream": stream})
            await server.wait_until(lambda server: len(server.requests) == 1)
            if stream:
                status, headers = await client.head()
                first = await client.chunk()
            ending = asyncio.ensure_future(bridge.end())
            if stream:
                rest = b"".join([piece async for piece in client.chunks()])
                error = Response(status, headers, first + rest, complete=True).stream().error
            else:
                response = await client.response()
                assert response.status == 503
                error = response.error()
            assert error is not None
            assert error["code"] == "shutting_down"
            assert await ending == 0


async def test_repeated_signals_end_the_process_cleanly(tmp_path: Path) -> None:
    async with run_process(tmp_path, routes("http://127.0.0.1:1"), *FREE) as bridge:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            if bridge.process.returncode is None:
                bridge.process.send_signal(number)
        assert await bridge.process.wait() == 0


async def test_an_address_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(routes("http://127.0.0.1:1"))
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        address = f"127.0.0.1:{occupied.getsockname()[1]}"
        front = ("--listen", address, "--admin", "off")
        admin = ("--listen", "127.0.0.1:0", "--admin", address, "--workers", "2")
        for flags in (front, admin):
            code, out, errors = await call(tmp_path, "serve", *flags)
            assert code == 1
            assert out == ""
            assert "in use" in errors
            assert address.rpartition(":")[2] in errors
            assert errors.count("\n") == 1, "one line, no traceback"


async def test_an_address_that_a_flag_opens_without_keys_is_logged(tmp_path: Path) -> None:
    flags = ("--listen", "0.0.0.0:0", "--admin", "off")
    event = "clients of other machines are accepted, and no key is required: set `server.keys`"
    async with run_process(tmp_path, routes("http://127.0.0.1:1"), *flags, warns=[event]):
        pass  # the log is checked at the end


@pytest.mark.parametrize("workers", ["0", "-1"])
async def test_zero_workers_are_an_invalid_setting(workers: str, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(routes("http://127.0.0.1:1"))
    code, out, errors = await call(tmp_path, "serve", *FREE, environment={"BRIDGE_WORKERS": workers})
    assert (code, out) == (1, "")
    assert "BRIDGE_WORKERS" in errors


async def test_the_demo_serves_every_model_from_a_checkout(tmp_path: Path) -> None:
    async with run_process(ROOT, None, "routes.yaml", "--demo", *FREE) as bridge:
        models = (await bridge.request(method="GET", path="/v1/models")).json["data"]
        assert models
        for model in models:
            for stream in (False, True):
                body = {**HELLO, "model": model["id"], "stream": stream}
                response = await bridge.request(body)
                choice = response.stream().choice if stream else response.completion().choice
                assert choice.text
        assert await bridge.end() == 0


async def test_workers_share_the_front(tmp_path: Path) -> None:
    async with (
        run_upstream(responder(GOOD)) as server,
        run_process(tmp_path, routes(server.url), *FREE, "--workers", "2") as bridge,
    ):
        assert (await bridge.request(HELLO)).status == 200
        workers = bridge.workers
        assert len(workers) == 2
        for stopped in workers:  # the other worker responds
            os.kill(stopped, signal.SIGSTOP)
            for _ in range(3):
                assert (await bridge.request(HELLO)).completion().choice.text == "hello"
            os.kill(stopped, signal.SIGCONT)
        await bridge.wait_for_count(7, "bridge_requests_total", route="r", code="200")
        samples = await bridge.samples()
        assert sum_samples(samples, "gen_ai_server_request_duration_seconds_count", route="r") == 7
        assert sum_samples(samples, "bridge_requests_in_progress", route="r") == 0
        assert await bridge.end() == 0
        for worker in workers:
            with pytest.raises(ProcessLookupError):
                os.kill(worker, 0)
        assert "Traceback" not in bridge.log()


async def test_the_counts_of_a_worker_that_ended_are_kept(tmp_path: Path) -> None:
    async with (
        run_upstream(responder(GOOD)) as server,
        run_process(tmp_path, routes(server.url), *FREE, "--workers", "2") as bridge,
    ):
        for _ in range(4):
            assert (await bridge.request(HELLO)).status == 200
        await bridge.wait_for_count(4, "bridge_requests_total")
        before = set(bridge.workers)
        for worker in before:
            os.kill(worker, signal.SIGTERM)

        async def replaced() -> bool:
            return len(set(bridge.workers) - before) == 2

        await wait_until(replaced)
        assert await bridge.count("bridge_requests_total") == 4
        assert (await bridge.request(HELLO)).status == 200
        await bridge.wait_for_count(5, "bridge_requests_total")
        assert await bridge.end() == 0


async def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    release = asyncio.Event()
    async with (
        run_upstream(lambda peer: stream_until(peer, release)) as server,
        run_process(tmp_path, routes(server.url), *FREE, "--workers", "2") as bridge,
        bridge.connect() as client,
    ):
        await client.send({**HELLO, "stream": True})
        await server.wait_until(lambda server: len(server.requests) == 1)
        before = set(bridge.workers)
        for worker in before:
            os.kill(worker, signal.SIGKILL)

        async def replaced() -> bool:
            return len(set(bridge.workers) - before) == 2

        await wait_until(replaced)
        await bridge.ready()
        release.set()
        assert (await bridge.request({**HELLO, "stream": True})).stream().choice.text == "hello to the end"

        async def idle() -> bool:  # requests of killed workers are not counted
            return await bridge.count("bridge_requests_in_progress") == 0

        async def logged() -> bool:
            return bridge.log().count("worker restarted") == 2

        await wait_until(idle)
        await wait_until(logged)
        assert await bridge.end() == 0
        restarts = [line for line in map(json.loads, bridge.log().splitlines()) if "worker" in line["event"]]
        assert [(line["event"], line["level"], line["exit_code"]) for line in restarts] == [
            ("worker restarted", "warning", -signal.SIGKILL)
        ] * 2
        assert {line["worker"] for line in restarts} == {0, 1}


async def test_a_signal_during_the_replacement_of_a_worker_ends_the_process(tmp_path: Path) -> None:
    async with run_process(tmp_path, routes("http://127.0.0.1:1"), *FREE, "--workers", "2") as bridge:
        before = set(bridge.workers)
        os.kill(min(before), signal.SIGKILL)

        async def noticed() -> bool:
            return len(bridge.workers) == 1

        await wait_until(noticed)
        assert await bridge.end() == 0


def test_the_demo_shows_a_terminal_what_to_do_next(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with socket.create_server(("127.0.0.1", 0)) as front:
        _announce(_Sockets([front], []), demo=True)
        url = "http://{}:{}".format(*front.getsockname())
    hint = re.search(r"curl -s (\S+)/v1/chat/completions \\\s+-d '(.*)'", capsys.readouterr().out)
    assert hint is not None
    assert hint[1] == url
    assert load_routes(str(ROOT / "routes.yaml"), {}).serves(json.loads(hint[2])["model"])
