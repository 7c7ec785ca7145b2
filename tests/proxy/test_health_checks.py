"""Health checks: a server that fails its check gets no requests, until a check succeeds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.core.errors import ConfigError
from bridge.proxy.replicas import Replica, ReplicaSet
from bridge.routes.rules.transport import EvictSpec
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, http_response, run_upstream
from tests.running_bridge import load_table, run_bridge, run_bridge_from_file, wait_until
from tests.telemetry.captured_log import captured_log
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from pathlib import Path

GOOD = http_response(completion("hello"))
OK = http_response({"status": "ok", "slots": 3})


def routes(health: str, upstream: str = "url: '${A}/v1/chat', replicas: ['${B}/v1/chat']") -> str:
    return f"routes: [{{models: m, upstream: {{{upstream}, health: {{{health}}}}}}}]"


class Server:
    """A model server whose health the test sets: the response of its check; b"" closes the connection."""

    def __init__(self, check: bytes = OK) -> None:
        self.check = check
        self.checks = 0
        self.requests = 0

    async def behave(self, peer: Connection) -> None:
        while request := await peer.request():
            if request.path == "/health":
                assert (request.method, request.data) == ("GET", b"")
                assert "authorization" not in request.headers
                self.checks += 1
                if not self.check:
                    return
                await peer.send(self.check)
            else:
                self.requests += 1
                await peer.send(GOOD)


BAD = {
    "a status": http_response({"status": "ok"}, 503),
    "another document": http_response({"status": "loading"}),
    "no JSON": http_response(b"<html>"),
    "a close": b"",
}


@pytest.mark.parametrize("case", BAD)
async def test_a_server_that_fails_its_check_gets_no_requests(case: str) -> None:
    bad, good = Server(BAD[case]), Server()
    text = routes("path: /health, every: 100ms, expect: {$.status: ok}")
    with captured_log() as log:
        async with (
            run_upstream(bad.behave) as a,
            run_upstream(good.behave) as b,
            run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
        ):
            await bridge.wait_for_count(1, "bridge_upstream_replicas_evicted")
            for _ in range(6):
                assert (await bridge.request(HELLO)).status == 200
            assert (bad.requests, good.requests) == (0, 6)
            bad.check = OK
            await bridge.wait_for_count(0, "bridge_upstream_replicas_evicted")
            for _ in range(6):
                assert (await bridge.request(HELLO)).status == 200
            assert (bad.requests, good.requests) == (3, 9)
        assert [line["replica"] for line in log.of("replica evicted")] == [a.url.removeprefix("http://")]
        assert len(log.of("replica restored")) == 1


async def test_without_a_condition_any_success_is_healthy() -> None:
    server = Server(http_response(b"fine"))
    async with (
        run_upstream(server.behave) as a,
        run_bridge(routes("path: /health, every: 100ms", "url: '${A}'"), {"A": a.url}) as bridge,
    ):

        async def checked() -> bool:
            return server.checks >= 2

        await wait_until(checked)
        assert await bridge.count("bridge_upstream_replicas_evicted", route="m") == 0
        assert await bridge.count("bridge_requests_total") == 0


async def test_if_all_servers_fail_their_check_all_are_used() -> None:
    servers = Server(b""), Server(b"")
    text = routes("path: /health, every: 100ms")
    async with (
        run_upstream(servers[0].behave) as a,
        run_upstream(servers[1].behave) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        await bridge.wait_for_count(2, "bridge_upstream_replicas_evicted")
        for _ in range(4):
            assert (await bridge.request(HELLO)).status == 200
        assert [server.requests for server in servers] == [2, 2]


async def test_checks_follow_the_file_and_end_with_the_bridge(tmp_path: Path) -> None:
    first, second = Server(), Server()
    text = routes("path: /health, every: 100ms", "url: '${A}'")
    async with run_upstream(first.behave) as a, run_upstream(second.behave) as b:
        async with run_bridge_from_file(tmp_path, text, {"A": a.url, "B": b.url}) as bridge:
            await wait_until(lambda: checked(first))
            (tmp_path / "routes.yaml").write_text(text.replace("${A}", "${B}"))
            bridge.reload.set()
            await wait_until(lambda: checked(second))
            await bridge.wait_for_count(1, "bridge_reloads_total", result="ok")
            before = first.checks
            await asyncio.sleep(0.3)
            assert first.checks <= before + 1
        before = second.checks
        await asyncio.sleep(0.3)
        assert second.checks == before


async def checked(server: Server) -> bool:
    return server.checks > 0


def test_two_checks_in_a_row_must_fail_after_a_good_one() -> None:
    changes: list[tuple[bool, str]] = []
    replica = Replica("a", 1)
    replicas = ReplicaSet(
        [replica],
        least_busy=False,
        evict=EvictSpec(),
        changed=lambda replica, reason: changes.append((replica.is_up, reason)),
    )
    faults = [None, "x", None, "x", "y", "z", None]
    ups = []
    for fault in faults:
        replicas.checked(0, fault)
        ups.append(replica.is_up)
    assert ups == [True, True, True, True, False, False, True]
    assert changes == [(False, "y"), (True, "a health check succeeded")]


@pytest.mark.parametrize(
    ("health", "upstream", "message"),
    [
        ("path: health", "url: 'http://a'", "a path that begins with"),
        ("path: /health", "url: 'http://{{ model }}.test/v1'", "whose host is a template"),
        ("path: /health, every: 1ms", "url: 'http://a'", "too short"),
        ("path: /health, expect: {}", "url: 'http://a'", "condition"),
        ("every: 1s", "url: 'http://a'", "`path` is missing"),
    ],
)
def test_invalid_checks_are_problems(health: str, upstream: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_table(routes(health, upstream), {})
    (problem,) = caught.value.problems
    assert message in str(problem)


def test_the_check_is_on_the_host_of_each_server() -> None:
    upstream = "url: 'wss://me:key@a:1/v1/{{ model }}?x=1', replicas: ['http://[::1]:80/', 'https://b']"
    text = routes("path: '/health?deep=1'", upstream)
    text = text.removesuffix("}]") + ", response: false, stream: {framing: websocket, text: $.t}}]"
    health = load_table(text, {}).routes[0].health
    assert health is not None
    assert health.urls == (
        "https://a:1/health?deep=1",
        "http://[::1]:80/health?deep=1",
        "https://b/health?deep=1",
    )
    assert health.every == 10
