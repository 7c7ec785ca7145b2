"""Lookups of host names: one that hangs delays no other, and a changed name is seen."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from bridge.upstream import connection_pool, resolver
from bridge.upstream.resolver import Resolver
from tests.raw_client import HELLO
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from collections.abc import Iterator

ON_BOTH_LOOPS = True

GOOD = http_response(completion("hello"))
LOOK_UP = socket.getaddrinfo


class Names:
    """A system's resolver for names below `.test`. A name without an address hangs until the test is over."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.lookups: list[str] = []
        self.over = threading.Event()

    def look_up(self, host: Any, *args: Any, **options: Any) -> Any:
        if not str(host).endswith(".test"):
            return LOOK_UP(host, *args, **options)
        self.lookups.append(host)
        if host not in self.addresses:
            self.over.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return LOOK_UP(self.addresses[host], *args, **options)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.look_up)
    yield names
    names.over.set()


async def test_names_whose_lookup_hangs_delay_no_other_route(names: Names) -> None:
    names.addresses["alive.test"] = "127.0.0.1"
    async with run_upstream(responder(GOOD)) as server:
        port = server.url.rpartition(":")[2]
        text = "\n".join(
            [
                "routes:",
                "- {models: dead-*, upstream: {url: 'http://{{ model }}.test/', timeouts: {connect: 30s}}}",
                f"- {{models: m, upstream: 'http://127.0.0.1:{port}'}}",
                f"- {{models: alive, upstream: 'http://alive.test:{port}'}}",
            ]
        )
        async with run_bridge(text, {}) as bridge:
            dead = [
                asyncio.ensure_future(bridge.request({**HELLO, "model": f"dead-{number}"}))
                for number in range(20)
            ]
            await asyncio.sleep(0.1)
            async with asyncio.timeout(5):
                for model in ("m", "alive"):
                    response = await bridge.request({**HELLO, "model": model})
                    assert response.completion().choice.text == "hello"
            assert not any(request.done() for request in dead)
            names.over.set()
            for response in await asyncio.gather(*dead):
                assert (response.status, response.error()["code"]) == (502, "upstream_connect")


async def test_a_lookup_that_hangs_is_bound_by_the_timeout(names: Names) -> None:
    text = "routes: [{models: m, upstream: {url: 'http://dead.test/', timeouts: {connect: 100ms}}}]"
    async with run_bridge(text, {}) as bridge:
        for _ in range(3):
            response = await bridge.request(HELLO)
            assert (response.status, response.error()["code"]) == (504, "upstream_timeout")
        assert names.lookups == ["dead.test"], "requests share the lookup that still runs"


async def test_a_replica_whose_name_hangs_is_skipped(names: Names) -> None:
    async with run_upstream(responder(GOOD)) as server:
        upstream = f"{{url: 'http://dead.test/', replicas: ['{server.url}'], timeouts: {{connect: 100ms}}}}"
        async with run_bridge(f"routes: [{{models: m, upstream: {upstream}}}]", {}) as bridge:
            for _ in range(4):
                assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert names.lookups == ["dead.test"]


async def test_a_name_is_looked_up_again_after_a_refused_connection(names: Names) -> None:
    names.addresses["moved.test"] = "127.0.0.2"
    async with run_upstream(responder(GOOD)) as server:
        port = server.url.rpartition(":")[2]
        text = f"routes: [{{models: m, upstream: 'http://moved.test:{port}'}}]"
        async with run_bridge(text, {}) as bridge:
            assert (await bridge.request(HELLO)).error()["code"] == "upstream_connect"
            names.addresses["moved.test"] = "127.0.0.1"
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"


async def test_a_changed_name_is_seen_when_connections_are_old(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_pool, "_DNS_CACHE_TIME", 0)
    names.addresses["moved.test"] = "127.0.0.1"
    async with run_upstream(responder(GOOD)) as first:
        port = int(first.url.rpartition(":")[2])
        upstream = f"{{url: 'http://moved.test:{port}', connections: {{max_age: 500ms}}}}"
        text = f"routes: [{{models: m, upstream: {upstream}}}]"
        second = await asyncio.start_server(answer, "127.0.0.2", port)
        async with second, run_bridge(text, {}) as bridge:
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
            names.addresses["moved.test"] = "127.0.0.2"
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
            assert first.connections == 1
            texts = ["hello"]
            while texts[-1] == "hello":
                texts.append((await bridge.request(HELLO)).completion().choice.text)
            assert texts[-1] == "the other server"
            assert first.connections == 1


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"}")
    writer.write(http_response(completion("the other server"), connection="close"))
    writer.close()


async def test_lookups_at_the_same_time_have_a_bound(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_MAX_LOOKUPS", 3)
    names.addresses["alive.test"] = "127.0.0.1"
    resolving = Resolver()
    waiting = [asyncio.ensure_future(resolving.resolve(f"dead-{number}.test")) for number in range(3)]
    await asyncio.sleep(0.05)
    with pytest.raises(OSError, match="lookups of other names"):
        await resolving.resolve("alive.test")
    names.over.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, socket.gaierror) for outcome in outcomes)
    assert [found["host"] for found in await resolving.resolve("alive.test", 80)] == ["127.0.0.1"]


async def test_both_families_are_found() -> None:
    found = await Resolver().resolve("localhost", 8080)
    assert {(each["hostname"], each["port"]) for each in found} == {("localhost", 8080)}
    assert "127.0.0.1" in {each["host"] for each in found}
