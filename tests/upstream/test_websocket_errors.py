"""Websocket upstreams that fail: an error status before the first message, an error event after output."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import pytest

from tests.raw_upstream import Connection, Handler, head, http_response, responder, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import Variant
from tests.upstream.raw_websocket import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    WEBSOCKET_ROUTES,
    accept_handshake,
    close_frame,
    handshake_response,
    read_frame,
    text_message,
    websocket_frame,
    websocket_responder,
)

ROUTE_VARIANTS = [
    Variant(model, stream=stream, upstream=True) for model in ("done", "open") for stream in (False, True)
]
KIB = 1024
MASK = b"\x12\x34\x56\x78"
END = websocket_frame(b'{"end":true}')
LIMIT = 64 * KIB


class Fault(NamedTuple):
    """A faulty behaviour of the upstream, and the expected error."""

    behave: Handler
    status: int
    code: str
    message: str = ""


async def closes_at_once(peer: Connection) -> None:
    pass


async def closes_before_the_handshake(peer: Connection) -> None:
    await peer.request()


async def closes_in_its_handshake(peer: Connection) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 101 Swi")


async def closes_after_the_handshake(peer: Connection) -> None:
    await accept_handshake(peer)


async def closes_with_a_reason_immediately(peer: Connection) -> None:
    """Send the close frame together with the handshake, and never read the request."""
    request = await peer.request()
    assert request is not None
    await peer.send(handshake_response(request) + close_frame(1008, "bad key"))


async def resets(peer: Connection) -> None:
    await accept_handshake(peer)
    await read_frame(peer)
    peer.abort()


def pings(*before: bytes, opcode: int = PING) -> Handler:
    """Return a handler that sends these bytes, and then nothing but pings."""

    async def behave(peer: Connection) -> None:
        await accept_handshake(peer)
        await read_frame(peer)
        await peer.send(b"".join(before))
        for number in count():
            await peer.send(websocket_frame(b"%d" % number, opcode))
            if opcode == PING:
                assert await read_frame(peer) == (PONG, b"%d" % number)

    return behave


def without(name: str, **replacements: str) -> Handler:
    """Return a handler whose handshake lacks a header, or has replacements."""

    async def behave(peer: Connection) -> None:
        request = await peer.request()
        assert request is not None
        lines = [line for line in handshake_response(request).split(b"\r\n")[1:] if line]
        kept = [line for line in lines if not line.lower().startswith(name.encode())]
        await peer.send(head(101, **replacements)[:-2] + b"\r\n".join([*kept, b"", b""]))
        await peer.wait_closed()

    return behave


GARBAGE = {
    "sends HTTP again": http_response({"text": "hello"}),
    "sets reserved bits": websocket_frame(b"{}", reserved=0b010),
    "compresses without negotiation": websocket_frame(b"\xaaV*I\xad(\x01\x00", reserved=0b100),
    "has an unknown opcode": websocket_frame(b"{}", 3),
    "continues without a start": websocket_frame(b"{}", CONTINUATION),
    "starts twice": websocket_frame(b'{"te', fin=False) + websocket_frame(b'xt":""}'),
    "fragments a ping": websocket_frame(b"x", PING, fin=False),
    "sends a large ping": websocket_frame(b"x" * 200, PING),
    "closes with an invalid code": close_frame(999),
    "closes with a reserved code": close_frame(1005),
    "closes with half a code": websocket_frame(b"\x03", 8),
    "closes with invalid UTF-8": websocket_frame(b"\x03\xe8\xff", 8),
    "sends invalid JSON": websocket_frame(b"hello"),
    "sends half of JSON": websocket_frame(b'{"text": "hel'),
    "sends invalid bytes": websocket_frame(b"\xff\xfe\xfd", BINARY),
}
TOO_LARGE = {
    "sends a byte too many": websocket_frame(b'"' + b"x" * (LIMIT - 1) + b'"'),
    "sends two fragments": websocket_frame(b'"' + b"x" * 40_000, fin=False)
    + websocket_frame(b"x" * 40_000, CONTINUATION),
    "sends many fragments": websocket_frame(b'"', fin=False)
    + websocket_frame(b"x" * 100, CONTINUATION, fin=False) * (LIMIT // 100 + 1),
    "promises 2**62 bytes": websocket_frame(b"{}", length=2**62),
    "promises 2**63 bytes": websocket_frame(b"{}", length=2**63),
    "promises 2**64 bytes": websocket_frame(b"{}", length=2**64 - 1),
    "promises 2**62 bytes in a fragment": websocket_frame(b"{", fin=False)
    + websocket_frame(b"}", CONTINUATION, length=2**62),
}
FAILURES: dict[str, tuple[Handler, str, str]] = {
    "resets": (resets, "upstream_disconnect", ""),
    "closes the connection": (websocket_responder(), "upstream_disconnect", "closed the connection"),
    "closes within a message": (
        websocket_responder(text_message("hello")[:-3]),
        "upstream_disconnect",
        "",
    ),
    "closes between two fragments": (
        websocket_responder(websocket_frame(b"{", fin=False)),
        "upstream_disconnect",
        "",
    ),
    "goes away": (websocket_responder(close_frame(1001)), "upstream_disconnect", "with 1001"),
    "has a policy": (
        websocket_responder(close_frame(1008, "bad key")),
        "upstream_disconnect",
        "with 1008: bad key",
    ),
    "fails": (
        websocket_responder(close_frame(1011, "out of memory")),
        "upstream_disconnect",
        "with 1011: out of memory",
    ),
    "has a code of its own": (
        websocket_responder(close_frame(4003, "quota")),
        "upstream_disconnect",
        "with 4003: quota",
    ),
    **{
        name: (websocket_responder(data, waits=True), "upstream_garbled", "")
        for name, data in GARBAGE.items()
    },
    **{
        name: (websocket_responder(data, waits=True), "upstream_limit", "limits.frame")
        for name, data in TOO_LARGE.items()
    },
    "is over limits.answer": (
        websocket_responder(*[websocket_frame(b'{"x":"%b"}' % (b"x" * 60_000))] * 5, waits=True),
        "upstream_limit",
        "limits.answer",
    ),
}

FAULTS: dict[str, Fault] = {
    "closes at once": Fault(closes_at_once, 502, "upstream_disconnect"),
    "closes before the handshake": Fault(closes_before_the_handshake, 502, "upstream_disconnect"),
    "closes within the handshake": Fault(closes_in_its_handshake, 502, "upstream_disconnect"),
    "closes after the handshake": Fault(closes_after_the_handshake, 502, "upstream_disconnect"),
    "closes with a reason immediately": Fault(
        closes_with_a_reason_immediately, 502, "upstream_disconnect", "with 1008: bad key"
    ),
    **{name: Fault(behave, 502, code, message) for name, (behave, code, message) in FAILURES.items()},
    "sends nothing": Fault(
        websocket_responder(waits=True), 504, "upstream_timeout", "no message arrived within 0.3 s"
    ),
    "sends half a message": Fault(
        websocket_responder(text_message("hello")[:-3], waits=True), 504, "upstream_timeout"
    ),
    "only pings": Fault(pings(), 504, "upstream_timeout"),
    "only pongs": Fault(pings(opcode=PONG), 504, "upstream_timeout"),
    "closes without a code": Fault(websocket_responder(close_frame()), 502, "upstream_empty"),
    "closes normally without a message": Fault(websocket_responder(close_frame(1000)), 502, "upstream_empty"),
    "sends empty messages": Fault(
        websocket_responder(websocket_frame(), websocket_frame(b" "), close_frame(1000)),
        502,
        "upstream_empty",
    ),
    "sends other members": Fault(
        websocket_responder(websocket_frame(b'{"said":"hello"}'), END, close_frame(1000)),
        502,
        "upstream_empty",
    ),
    "only sends the end": Fault(websocket_responder(END, close_frame(1000)), 502, "upstream_empty"),
    "fails by the rule": Fault(
        websocket_responder(websocket_frame(b'{"code":-4,"msg":"no model"}')), 404, "", "no model"
    ),
    "fails in a common shape": Fault(
        websocket_responder(websocket_frame(b'{"error":"out of memory"}')), 502, "", "out of memory"
    ),
    "accepts another key": Fault(
        without("sec-websocket-accept", sec_websocket_accept="AAAA"), 502, "upstream_garbled", "no WebSocket"
    ),
    "accepts no key": Fault(without("sec-websocket-accept"), 502, "upstream_garbled", "no WebSocket"),
    "upgrades to nothing": Fault(without("upgrade"), 502, "upstream_garbled", "no WebSocket"),
    "is HTML under 200": Fault(
        responder(http_response(b"<html>hi</html>", content_type="text/html")), 502, "upstream_garbled", "200"
    ),
    "is 204": Fault(responder(head(204)), 502, "upstream_garbled", "204"),
    "sends SSH": Fault(responder(b"SSH-2.0-OpenSSH_9.6\r\n"), 502, "upstream_garbled"),
}


@pytest.mark.parametrize("variant", ROUTE_VARIANTS, ids=str)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_before_the_first_message_is_an_error_with_its_status(
    fault: str, variant: Variant
) -> None:
    behave, status, code, message = FAULTS[fault]
    async with (
        run_upstream(behave) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(variant.body)
        error = response.error()
        assert response.status == status, error
        assert (error["code"] or "").startswith(code), error
        assert message in error["message"]
        assert server.connections == 1
        await bridge.wait_for_count(1, "bridge_upstream_errors_total", route=variant.model)


# The same failures after two valid messages, and failures that are possible only then.
LATE_FAULTS: dict[str, tuple[Handler, str, str]] = {
    **FAILURES,
    "sends nothing more": (websocket_responder(waits=True), "upstream_timeout", "nothing arrived for 0.3 s"),
    "sends half a message": (
        websocket_responder(text_message("more")[:-3], waits=True),
        "upstream_timeout",
        "",
    ),
    "fails by the rule": (
        websocket_responder(websocket_frame(b'{"code":-4,"msg":"no model"}')),
        "",
        "no model",
    ),
    "fails in a common shape": (
        websocket_responder(websocket_frame(b'{"error":"out of memory"}')),
        "",
        "out of memory",
    ),
}
del LATE_FAULTS["is over limits.answer"]


def after_two_messages(behave: Handler) -> Handler:
    """Return a handler that sends two messages together with its handshake, and then fails."""

    async def behave_late(peer: Connection) -> None:
        send = peer.send

        async def send_with_messages(data: bytes) -> None:
            peer.send = send  # type: ignore[method-assign]
            await send(data + text_message("one ") + text_message("two "))

        peer.send = send_with_messages  # type: ignore[method-assign]
        await behave(peer)

    return behave_late


@pytest.mark.parametrize("variant", ROUTE_VARIANTS, ids=str)
@pytest.mark.parametrize("fault", LATE_FAULTS)
async def test_a_fault_after_output_ends_with_an_error(fault: str, variant: Variant) -> None:
    behave, code, message = LATE_FAULTS[fault]
    async with (
        run_upstream(after_two_messages(behave)) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(variant.body)
        if variant.stream:
            stream_read = response.stream()
            assert stream_read.choice.text == "one two "
            assert stream_read.error is not None
            error = stream_read.error
        else:
            assert response.status in (404, 502, 504)
            error = response.error()
        assert (error["code"] or "").startswith(code), error
        assert message in error["message"]
        await bridge.wait_for_count(1, "bridge_upstream_errors_total", route=variant.model)


VALID = {
    "closes as agreed": [text_message("hello"), close_frame(1000)],
    "closes without a code": [text_message("hello"), close_frame()],
    "sends bytes": [websocket_frame(b'{"text":"hello"}', BINARY), close_frame(1000)],
    "masks": [websocket_frame(b'{"text":"hello"}', mask=MASK), close_frame(1000)],
    "pings between fragments": [
        websocket_frame(b'{"text":', fin=False)
        + websocket_frame(b"", PING)
        + websocket_frame(b'"hello"}', CONTINUATION),
        close_frame(1000),
    ],
    "fragments characters": [
        websocket_frame(b'{"text":"hel', fin=False),
        websocket_frame(b"", CONTINUATION, fin=False) * 50,
        websocket_frame(b'lo"}', CONTINUATION),
        close_frame(1000),
    ],
    "keeps alive with nothing": [
        websocket_frame(),
        text_message("hel"),
        websocket_frame(b" "),
        text_message("lo"),
        close_frame(1000),
    ],
    "arrives byte by byte": [
        bytes([byte]) for byte in text_message("hel") + text_message("lo") + close_frame(1000)
    ],
    "arrives at once": [
        text_message("hel") + websocket_frame(b"x", PING) + text_message("lo") + close_frame(1000)
    ],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("valid", VALID)
async def test_unusual_frames_are_read(valid: str, *, stream: bool) -> None:
    """The upstream closes the connection immediately after its last frame."""
    async with (
        run_upstream(websocket_responder(*VALID[valid])) as server,
        run_bridge(WEBSOCKET_ROUTES, {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(Variant("open", stream=stream, upstream=True).body)
        choice = response.stream().choice if stream else response.completion().choice
        assert (choice.text, choice.finish_reason) == ("hello", "stop")
        assert await bridge.count("bridge_upstream_errors_total") == 0


@pytest.mark.parametrize("limit", ["64KiB", "4GiB", "100GiB"])
async def test_a_message_at_the_limit_is_read(limit: str) -> None:
    choice = "x" * (LIMIT - len('{"text":""}'))
    file = WEBSOCKET_ROUTES.replace("frame: 64KiB, answer: 256KiB", f"frame: {limit}, answer: {limit}")
    async with (
        run_upstream(
            websocket_responder(websocket_frame(b'{"text":"%b"}' % choice.encode()), close_frame(1000))
        ) as server,
        run_bridge(file.replace("answer: 64KiB", "answer: 65KiB"), {"UPSTREAM": server.url}) as bridge,
    ):
        response = await bridge.request(Variant("open", stream=False, upstream=True).body)
        assert response.completion().choice.text == choice
