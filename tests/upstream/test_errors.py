"""The border where foreign exceptions become UpstreamErrors, and where faults of the bridge must not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest

from bridge.core.errors import UpstreamFailure
from bridge.routes.rules.transport import TimeoutsSpec
from bridge.upstream import response_parser
from bridge.upstream.errors import NETWORK_ERRORS, ProtocolError, to_upstream_error
from tests.raw_client import HELLO
from tests.raw_upstream import http_response, responder, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import completion

if TYPE_CHECKING:
    from bridge.upstream.errors import NetworkError

URL = "http://user:secret@host:8000/secret?key=secret"

KINDS: list[tuple[NetworkError, UpstreamFailure, str]] = [
    (
        aiohttp.ConnectionTimeoutError(),
        UpstreamFailure.TIMEOUT,
        "no connection to the upstream host:8000",
    ),
    (TimeoutError("nothing arrived"), UpstreamFailure.TIMEOUT, "the upstream host:8000 is too slow"),
    (ssl.SSLError(1, "handshake failed"), UpstreamFailure.CONNECT, "handshake failed"),
    (aiohttp.InvalidURL(URL), UpstreamFailure.CONNECT, "the host or port of its URL is invalid"),
    (UnicodeError("label too long"), UpstreamFailure.CONNECT, "the host or port of its URL is invalid"),
    (aiohttp.ServerDisconnectedError(), UpstreamFailure.DISCONNECT, "closed the connection"),
    (ConnectionResetError(), UpstreamFailure.DISCONNECT, "closed the connection"),
    (socket.gaierror(), UpstreamFailure.DISCONNECT, "closed the connection"),
    (ProtocolError("Invalid header"), UpstreamFailure.MALFORMED, "sent invalid HTTP: Invalid header"),
    (aiohttp.ClientError(), UpstreamFailure.MALFORMED, "sent invalid HTTP: ClientError"),
]


@pytest.mark.parametrize(("error", "kind", "text"), KINDS)
def test_network_errors_become_upstream_errors(error: NetworkError, kind: UpstreamFailure, text: str) -> None:
    assert isinstance(error, NETWORK_ERRORS)
    mapped = to_upstream_error(error, URL, TimeoutsSpec())
    assert mapped.kind is kind
    assert text in mapped.message
    assert "secret" not in mapped.message


def test_faults_of_the_bridge_are_no_network_errors() -> None:
    for fault in (KeyError("x"), AttributeError("x"), TypeError("x"), ValueError("x"), AssertionError("x")):
        assert not isinstance(fault, NETWORK_ERRORS)
    assert not isinstance(asyncio.CancelledError(), NETWORK_ERRORS)


async def test_a_host_name_that_cannot_be_encoded_is_a_failed_connection() -> None:
    text = "routes: [{models: '*', upstream: 'http://{{ model }}/'}]"
    async with run_bridge(text, {}) as bridge:
        answer = await bridge.request({**HELLO, "model": "a" * 64})
        assert (answer.status, answer.error()["code"]) == (502, "upstream_connect")


async def test_a_fault_of_the_parser_is_an_internal_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fault(*_: object) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(response_parser, "lower_names", fault)
    text = "routes: [{models: m, upstream: '${UPSTREAM}'}]"
    upstream = run_upstream(responder(http_response(completion("hello"))))
    async with upstream as server, run_bridge(text, {"UPSTREAM": server.url}) as bridge:
        answer = await bridge.request(HELLO)
        assert (answer.status, answer.error()["code"]) == (500, "internal_error")
        assert await bridge.count("bridge_upstream_errors_total") == 0
