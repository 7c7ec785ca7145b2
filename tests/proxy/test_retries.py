"""Retries of requests: their causes, the delay that a server requests, and their budget."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import contextmanager
from email.utils import formatdate
from time import time
from typing import TYPE_CHECKING

import pytest

from bridge.proxy.replicas import Others
from bridge.proxy.retry import Attempts, RetryBudget, status_causes
from bridge.routes.rules.transport import RetrySpec, TransportSpec
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, Handler, http_response, responder, run_upstream
from tests.running_bridge import load_table, run_bridge
from tests.telemetry.captured_log import captured_log
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = http_response(completion("hello"))


def routes(upstream: str) -> str:
    return f"routes: [{{models: m, upstream: {upstream}}}]"


def limiter(headers: dict[str, str], seconds: float) -> Handler:
    """Return a handler that responds 429 with these headers for the `seconds` after the first request."""
    opens = 0.0

    async def behave(peer: Connection) -> None:
        nonlocal opens
        loop = asyncio.get_running_loop()
        while await peer.request():
            opens = opens or loop.time() + seconds
            busy = loop.time() < opens
            await peer.send(http_response({"error": {"message": "busy"}}, 429, **headers) if busy else GOOD)

    return behave


@contextmanager
def full_listener() -> Iterator[str]:
    """Yield the URL of a port that answers no connection: its queue of unaccepted connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            waiting.append(client)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for client in waiting:
            client.close()


@pytest.mark.parametrize("retry", ["", ", retry: {retries: 1, on: [connect], backoff: 1ms}"])
async def test_a_replica_without_connection_in_time_is_skipped(retry: str) -> None:
    text = routes(f"{{url: '${{SLOW}}', replicas: ['${{GOOD}}'], timeouts: {{connect: 100ms}}{retry}}}")
    with full_listener() as slow:
        async with (
            run_upstream(responder(GOOD)) as good,
            run_bridge(text, {"SLOW": slow, "GOOD": good.url}) as bridge,
        ):
            for _ in range(4):
                assert (await bridge.request(HELLO)).completion().choice.text == "hello"
            assert await bridge.count("bridge_upstream_retries_total", cause="connect") == 2


async def accepts(peer: Connection) -> None:
    await peer.wait_closed()


async def closes(peer: Connection) -> None:
    """Close the connection before any request."""


async def is_no_tls(peer: Connection) -> None:
    await peer.send(GOOD)


@pytest.mark.parametrize("behave", [accepts, closes, is_no_tls])
@pytest.mark.parametrize("retry", ["", ", retry: {retries: 1, on: [503]}"])
async def test_a_replica_whose_tls_fails_is_skipped(behave: Handler, retry: str) -> None:
    """Whatever fails before the request is sent leads to the next replica."""
    text = routes(f"{{url: '${{BAD}}', replicas: ['${{GOOD}}'], timeouts: {{connect: 200ms}}{retry}}}")
    async with (
        run_upstream(behave) as bad,
        run_upstream(responder(GOOD)) as good,
        run_bridge(text, {"BAD": bad.url.replace("http", "https"), "GOOD": good.url}) as bridge,
    ):
        for _ in range(4):
            assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert (bad.connections, bad.requests) == (2, [])


async def test_without_another_replica_a_connect_timeout_is_a_timeout() -> None:
    text = routes("{url: '${SLOW}', timeouts: {connect: 100ms}}")
    with full_listener() as slow:
        async with run_bridge(text, {"SLOW": slow}) as bridge:
            response = await bridge.request(HELLO)
            assert (response.status, response.error()["code"]) == (504, "upstream_timeout")


async def test_total_bounds_the_connection_and_the_replicas() -> None:
    text = routes("{url: '${A}', replicas: ['${B}', '${C}'], timeouts: {connect: 20s, total: 300ms}}")
    with full_listener() as slow:
        async with run_bridge(text, {"A": slow, "B": slow, "C": slow}) as bridge:
            async with asyncio.timeout(5):
                response = await bridge.request(HELLO)
            assert (response.status, response.error()["code"]) == (504, "upstream_timeout")
            assert "the response took more than 0.3 s" in response.error()["message"]


async def test_a_request_that_is_running_is_not_sent_to_another_replica() -> None:
    async def hang(peer: Connection) -> None:
        await peer.request()
        await peer.wait_closed()

    text = routes("{url: '${A}', replicas: ['${B}'], timeouts: {first_byte: 100ms}, retry: {on: [connect]}}")
    async with (
        run_upstream(hang) as a,
        run_upstream(hang) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        response = await bridge.request(HELLO)
        assert (response.status, response.error()["code"]) == (504, "upstream_timeout")
        assert len(a.requests) + len(b.requests) == 1


DELAYS = {
    "seconds": lambda: {"retry_after": "1"},
    "milliseconds": lambda: {"retry_after_ms": "1000"},
    "date": lambda: {"retry_after": formatdate(time() + 2, usegmt=True)},
}


@pytest.mark.parametrize("form", DELAYS)
async def test_the_delay_that_a_server_requests_is_kept(form: str) -> None:
    text = routes("{url: '${UPSTREAM}', retry: {retries: 1, backoff: 1ms}}")
    async with (
        run_upstream(limiter(DELAYS[form](), 0.9)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert len(server.requests) == 2


async def test_a_delay_over_max_wait_is_the_clients() -> None:
    text = routes("{url: '${UPSTREAM}', retry: {retries: 2, backoff: 1ms, max_wait: 5s}}")
    async with (
        run_upstream(limiter({"retry_after": "6"}, 6)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(HELLO)
        assert (response.status, response.headers["retry-after"]) == (429, "6")
        assert len(server.requests) == 1


async def test_another_replica_is_not_waited_for() -> None:
    text = routes("{url: '${A}', replicas: ['${B}'], retry: {retries: 1, backoff: 1ms}}")
    async with (
        run_upstream(limiter({"retry_after": "9"}, 9)) as a,
        run_upstream(responder(GOOD)) as b,
        run_bridge(text, {"A": a.url, "B": b.url}) as bridge,
    ):
        async with asyncio.timeout(5):
            for _ in range(4):
                assert (await bridge.request(HELLO)).completion().choice.text == "hello"
        assert (len(a.requests), len(b.requests)) == (2, 4)


async def test_total_bounds_all_attempts() -> None:
    text = routes("{url: '${UPSTREAM}', timeouts: {total: 1s}, retry: {retries: 2, max_wait: 1m}}")
    async with (
        run_upstream(limiter({"retry_after": "30"}, 30)) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        assert (await bridge.request(HELLO)).status == 429
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("on", "requests"), [("[reset]", 2), ("[disconnect]", 2), ("[connect]", 1), ("[503]", 1)]
)
async def test_a_reset_is_retried_if_named(on: str, requests: int) -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()
        raw = peer._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.abort()

    text = routes(f"{{url: '${{UPSTREAM}}', retry: {{retries: 1, backoff: 1ms, on: {on}}}}}")
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).error()["code"] == "upstream_disconnect"
        assert len(server.requests) == requests


async def test_a_close_is_no_reset() -> None:
    async def behave(peer: Connection) -> None:
        await peer.request()

    text = routes("{url: '${UPSTREAM}', retry: {backoff: 1ms, on: [reset]}}")
    async with run_upstream(behave) as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        assert (await bridge.request(HELLO)).status == 502
        assert len(server.requests) == 1


def test_by_default_only_what_was_not_carried_out_is_retried() -> None:
    assert set(RetrySpec().on) == {"connect", "429", "502", "503"}


@pytest.mark.parametrize(("on", "requests"), [("[5xx]", 3), ("[418]", 1), ("['507']", 3), ("[507]", 3)])
async def test_statuses_are_named_alone_or_all_together(on: str, requests: int) -> None:
    text = routes(f"{{url: '${{UPSTREAM}}', retry: {{backoff: 1ms, on: {on}}}}}")
    async with (
        run_upstream(responder(http_response({"error": "full"}, 507))) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        assert (await bridge.request(HELLO)).status == 507
        assert len(server.requests) == requests


async def test_retries_are_counted_and_logged() -> None:
    text = routes("{url: '${UPSTREAM}', retry: {backoff: 1ms}}")
    busy = http_response({"error": "busy"}, 503)
    with captured_log() as log:
        async with (
            run_upstream(responder(busy, busy, GOOD)) as server,
            run_bridge(text, {"UPSTREAM": server.url}) as bridge,
        ):
            assert (await bridge.request(HELLO)).status == 200
            assert (await bridge.request(HELLO)).status == 200
            assert await bridge.count("bridge_upstream_retries_total", route="m", cause="503") == 2
        first, second = (line for line in log.all if line["event"] == "request")
    assert first["retries"] == 2
    assert "retries" not in second


async def test_retries_are_a_bounded_share_of_requests() -> None:
    text = routes("{url: '${UPSTREAM}', retry: {retries: 5, backoff: 1ms, budget: 20%}}")
    async with (
        run_upstream(responder(http_response({"error": "busy"}, 503))) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
    ):
        for _ in range(50):
            assert (await bridge.request(HELLO)).status == 503
        retries = await bridge.count("bridge_upstream_retries_total")
        assert len(server.requests) == 50 + retries
        assert 10 <= retries < 50


def test_the_budget_is_a_share_beyond_a_first_burst() -> None:
    budget, now = RetryBudget(), 100.0
    budget.take(now)
    while budget.take(now):
        pass
    made = 0
    for _ in range(1000):
        budget.add_request(0.2)
        made += budget.take(now)
    assert 199 <= made <= 200


def test_rare_requests_are_always_retried() -> None:
    budget = RetryBudget()
    assert all(budget.take(100.0 + second) for second in range(1000))


def attempts(rule: RetrySpec | None) -> Attempts:
    return Attempts(TransportSpec(retry=rule), RetryBudget(), started=0.0)


def test_the_backoff_is_doubled_up_to_the_longest_wait() -> None:
    series = attempts(RetrySpec(attempts=6, backoff=1.0, max_wait=5.0))
    assert [series.delay(["503"], None, 0.0) for _ in range(7)] == [1, 2, 4, 5, 5, 5, None]
    series = attempts(RetrySpec(attempts=3, backoff=20.0))
    assert [series.delay(["503"], None, 0.0) for _ in range(3)] == [20, 20, 20]


def test_without_a_rule_other_replicas_are_tried_only_if_nothing_was_sent() -> None:
    for others in (Others.EVICTED, Others.USABLE):
        assert attempts(None).delay(["connect", "timeout"], None, 0.0, others) == 0
        assert attempts(None).delay(["timeout"], None, 0.0, others) is None
        assert attempts(None).delay(["503", "5xx"], None, 0.0, others) is None
    assert attempts(None).delay(["connect"], None, 0.0, Others.NONE) is None


def test_a_failover_is_no_retry() -> None:
    series = attempts(RetrySpec(attempts=1, backoff=2.0))
    assert [series.delay(["connect"], None, 0.0, Others.USABLE) for _ in range(3)] == [0, 0, 0]
    assert [series.delay(["connect"], None, 0.0) for _ in range(2)] == [2, None]


def test_only_a_usable_replica_need_not_be_waited_for() -> None:
    def delay(others: Others) -> float | None:
        return attempts(RetrySpec(backoff=1.0)).delay(["429"], 7.0, 0.0, others)

    assert [delay(others) for others in (Others.NONE, Others.EVICTED, Others.USABLE)] == [7, 7, 1]


def test_a_success_is_final() -> None:
    for status in (200, 204, 302):
        assert attempts(RetrySpec()).delay(status_causes(status), None, 0.0, Others.USABLE) is None


def test_words_of_retry_on_are_checked() -> None:
    text = "routes: [{models: m, upstream: {url: 'http://a', retry: {on: [connect, 5xx, 429, '503']}}}]"
    retry = load_table(text, {}).routes[0].transport.retry
    assert retry is not None
    assert retry.on == ("connect", "5xx", "429", "503")
