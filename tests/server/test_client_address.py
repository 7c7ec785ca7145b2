"""The address of a client, and X-Forwarded-For of trusted proxies."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from bridge.server.client_address import forwarded_address, peer_address
from tests.raw_client import HELLO
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import run_bridge
from tests.telemetry.captured_log import captured_log
from tests.upstream.formats import completion

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        (["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
        (["1.1.1.1, 203.0.113.7, 10.0.0.2,fd00::1"], "203.0.113.7"),  # 1.1.1.1 is the client's invention
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["203.0.113.7:4711"], "203.0.113.7"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, unknown"], "10.0.0.1"),
        (["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
        ([""], "10.0.0.1"),
        ([], "10.0.0.1"),
        (["\x1b[2J\n"], "10.0.0.1"),
    ],
)
def test_the_last_address_that_is_not_a_proxys_is_the_clients(headers: list[str], address: str) -> None:
    assert forwarded_address("10.0.0.1", headers, PROXIES) == address


def test_an_ipv4_client_of_an_ipv6_socket_has_its_ipv4_address() -> None:
    assert peer_address(("::ffff:192.0.2.1", 1, 0, 0)) == "192.0.2.1"
    assert peer_address(("2001:db8::1", 1, 0, 0)) == "2001:db8::1"
    assert peer_address(None) == ""


@pytest.mark.parametrize(
    ("proxies", "address"),
    [
        ("[]", "127.0.0.1"),
        ("10.0.0.0/8", "127.0.0.1"),
        ("127.0.0.0/8", "203.0.113.7"),
        ("127.0.0.1", "203.0.113.7"),
    ],
)
async def test_forwarded_addresses_are_believed_from_trusted_proxies(proxies: str, address: str) -> None:
    settings = "{}" if proxies == "[]" else f"{{trusted_proxies: {proxies}}}"
    text = f"server: {settings}\nroutes: [{{models: m, upstream: '${{UPSTREAM}}'}}]"
    with captured_log() as log:
        async with (
            run_upstream(responder(http_response(completion("hello")))) as server,
            run_bridge(text, {"UPSTREAM": server.url}) as bridge,
        ):
            headers = {"X-Forwarded-For": "1.1.1.1, 203.0.113.7"}
            assert (await bridge.request(HELLO, headers=headers)).status == 200
            assert (await bridge.request(HELLO, headers=headers, path="/nowhere")).status == 404
            await bridge.wait_for_count(1, "bridge_requests_total", route="m")
        everything = log.all
    lines = [line for line in everything if line["event"] in ("request", "refused")]
    assert [line["client"] for line in lines] == [address, address]
