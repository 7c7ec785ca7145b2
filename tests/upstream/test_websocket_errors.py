"""Websocket upstreams that fail: the true status before the first message, the honest end after it."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.raw_client import bridge
from tests.raw_upstream import Peer, answering, head, upstream, whole
from tests.upstream.formats import Way
from tests.upstream.raw_websocket import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    SOCKETS,
    asked,
    closing,
    framed,
    says,
    shaken,
    text,
    welcome,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Behave = Callable[[Peer], Awaitable[None]]

WAYS = [Way(model, stream=stream, upstream=True) for model in ("done", "open") for stream in (False, True)]
KIB = 1024
MASK = b"\x12\x34\x56\x78"
END = framed(b'{"end":true}')
LIMIT = 64 * KIB


class Fault(NamedTuple):
    """What the server does when it is asked, and what must be told of it."""

    behave: Behave
    status: int
    code: str
    message: str = ""


async def closes_at_once(peer: Peer) -> None:
    pass


async def closes_before_the_handshake(peer: Peer) -> None:
    await peer.request()


async def closes_in_its_handshake(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 101 Swi")


async def closes_unasked(peer: Peer) -> None:
    await shaken(peer)


async def tells_why_unasked(peer: Peer) -> None:
    """Its farewell comes along with the handshake; what was asked is never read."""
    request = await peer.request()
    assert request is not None
    await peer.send(welcome(request) + closing(1008, "bad key"))


async def resets(peer: Peer) -> None:
    await shaken(peer)
    await asked(peer)
    peer.abort()


def pings(*before: bytes, opcode: int = PING) -> Behave:
    """Never says anything else any more."""

    async def behave(peer: Peer) -> None:
        await shaken(peer)
        await asked(peer)
        await peer.send(b"".join(before))
        for number in count():
            await peer.send(framed(b"%d" % number, opcode))
            if opcode == PING:
                assert await asked(peer) == (PONG, b"%d" % number)

    return behave


def without(name: str, **instead: str) -> Behave:
    """Shakes hands without one of its headers, or with another in its place."""

    async def behave(peer: Peer) -> None:
        request = await peer.request()
        assert request is not None
        lines = [line for line in welcome(request).split(b"\r\n")[1:] if line]
        kept = [line for line in lines if not line.lower().startswith(name.encode())]
        await peer.send(head(101, **instead)[:-2] + b"\r\n".join([*kept, b"", b""]))
        await peer.stay()

    return behave


GARBAGE = {
    "speaks HTTP again": whole({"text": "hello"}),
    "sets reserved bits": framed(b"{}", reserved=0b010),
    "compresses, unasked": framed(b"\xaaV*I\xad(\x01\x00", reserved=0b100),
    "has an opcode that is none": framed(b"{}", 3),
    "goes on without a start": framed(b"{}", CONTINUATION),
    "starts twice": framed(b'{"te', fin=False) + framed(b'xt":""}'),
    "cuts a ping": framed(b"x", PING, fin=False),
    "sends a large ping": framed(b"x" * 200, PING),
    "closes with a code that is none": closing(999),
    "closes with a code that nobody may send": closing(1005),
    "closes with half a code": framed(b"\x03", 8),
    "closes with broken UTF-8": framed(b"\x03\xe8\xff", 8),
    "sends no JSON": framed(b"hello"),
    "sends half of JSON": framed(b'{"text": "hel'),
    "sends broken bytes": framed(b"\xff\xfe\xfd", BINARY),
}
TOO_LARGE = {
    "sends a byte too many": framed(b'"' + b"x" * (LIMIT - 1) + b'"'),
    "sends it in pieces": framed(b'"' + b"x" * 40_000, fin=False) + framed(b"x" * 40_000, CONTINUATION),
    "sends it in many pieces": framed(b'"', fin=False)
    + framed(b"x" * 100, CONTINUATION, fin=False) * (LIMIT // 100 + 1),
    "promises 2**62 bytes": framed(b"{}", length=2**62),
    "promises 2**63 bytes": framed(b"{}", length=2**63),
    "promises 2**64 bytes": framed(b"{}", length=2**64 - 1),
    "promises 2**62 behind a start": framed(b"{", fin=False) + framed(b"}", CONTINUATION, length=2**62),
}
BROKEN: dict[str, tuple[Behave, str, str]] = {
    "resets": (resets, "upstream_disconnect", ""),
    "closes the connection": (says(), "upstream_disconnect", "connection was closed"),
    "closes inside of a message": (says(text("hello")[:-3]), "upstream_disconnect", ""),
    "closes between two fragments": (says(framed(b"{", fin=False)), "upstream_disconnect", ""),
    "goes away": (says(closing(1001)), "upstream_disconnect", "with 1001"),
    "has a policy": (says(closing(1008, "bad key")), "upstream_disconnect", "with 1008: bad key"),
    "fails": (says(closing(1011, "out of memory")), "upstream_disconnect", "with 1011: out of memory"),
    "has a code of its own": (says(closing(4003, "quota")), "upstream_disconnect", "with 4003: quota"),
    **{name: (says(data, stays=True), "upstream_garbled", "") for name, data in GARBAGE.items()},
    **{name: (says(data, stays=True), "upstream_limit", "limits.frame") for name, data in TOO_LARGE.items()},
    "is over limits.answer": (
        says(*[framed(b'{"x":"%b"}' % (b"x" * 60_000))] * 5, stays=True),
        "upstream_limit",
        "limits.answer",
    ),
}

FAULTS: dict[str, Fault] = {
    "closes at once": Fault(closes_at_once, 502, "upstream_disconnect"),
    "closes before the handshake": Fault(closes_before_the_handshake, 502, "upstream_disconnect"),
    "closes in the handshake": Fault(closes_in_its_handshake, 502, "upstream_disconnect"),
    "closes unasked": Fault(closes_unasked, 502, "upstream_disconnect"),
    "tells why unasked": Fault(tells_why_unasked, 502, "upstream_disconnect", "with 1008: bad key"),
    **{name: Fault(behave, 502, code, message) for name, (behave, code, message) in BROKEN.items()},
    "says nothing": Fault(says(stays=True), 504, "upstream_timeout", "no message came in 0.3 s"),
    "says half a message": Fault(says(text("hello")[:-3], stays=True), 504, "upstream_timeout"),
    "only pings": Fault(pings(), 504, "upstream_timeout"),
    "only pongs": Fault(pings(opcode=PONG), 504, "upstream_timeout"),
    "closes without a word": Fault(says(closing()), 502, "upstream_empty"),
    "closes as if all were said": Fault(says(closing(1000)), 502, "upstream_empty"),
    "says empty messages": Fault(says(framed(), framed(b" "), closing(1000)), 502, "upstream_empty"),
    "says other things": Fault(says(framed(b'{"said":"hello"}'), END, closing(1000)), 502, "upstream_empty"),
    "only says that it is done": Fault(says(END, closing(1000)), 502, "upstream_empty"),
    "says null": Fault(says(framed(b'{"text":null}'), END, closing(1000)), 502, "upstream_empty"),
    "fails by the rule": Fault(says(framed(b'{"code":-4,"msg":"no model"}')), 404, "", "no model"),
    "fails as others do": Fault(says(framed(b'{"error":"out of memory"}')), 502, "", "out of memory"),
    "accepts another key": Fault(
        without("sec-websocket-accept", sec_websocket_accept="AAAA"), 502, "upstream_garbled", "no websocket"
    ),
    "accepts no key": Fault(without("sec-websocket-accept"), 502, "upstream_garbled", "no websocket"),
    "upgrades to nothing": Fault(without("upgrade"), 502, "upstream_garbled", "no websocket"),
    "is HTML under 200": Fault(
        answering(whole(b"<html>hi</html>", content_type="text/html")), 502, "upstream_garbled", "200"
    ),
    "is 204": Fault(answering(head(204)), 502, "upstream_garbled", "204"),
    "speaks SSH": Fault(answering(b"SSH-2.0-OpenSSH_9.6\r\n"), 502, "upstream_garbled"),
}


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("fault", FAULTS)
async def test_before_the_first_message_the_status_is_true(fault: str, way: Way) -> None:
    behave, status, code, message = FAULTS[fault]
    async with upstream(behave) as server, bridge(SOCKETS, {"UPSTREAM": server.url}) as running:
        answer = await running.ask(way.body)
        error = answer.error()
        assert answer.status == status, error
        assert (error["code"] or "").startswith(code), error
        assert message in error["message"]
        assert server.connections == 1
        await running.until_counted(1, "bridge_upstream_errors_total", route=way.model)


# The same after two good messages, and what is a failure only then.
LATER: dict[str, tuple[Behave, str, str]] = {
    **BROKEN,
    "says nothing more": (says(stays=True), "upstream_timeout", "nothing arrived for 0.3 s"),
    "says half a message": (says(text("more")[:-3], stays=True), "upstream_timeout", ""),
    "fails by the rule": (says(framed(b'{"code":-4,"msg":"no model"}')), "", "no model"),
    "fails as others do": (says(framed(b'{"error":"out of memory"}')), "", "out of memory"),
}
del LATER["is over limits.answer"]


def late(behave: Behave) -> Behave:
    """Says two good messages along with its handshake, is asked, then fails."""

    async def later(peer: Peer) -> None:
        send = peer.send

        async def begun(data: bytes) -> None:
            peer.send = send  # type: ignore[method-assign]
            await send(data + text("one ") + text("two "))

        peer.send = begun  # type: ignore[method-assign]
        await behave(peer)

    return later


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("fault", LATER)
async def test_after_the_first_message_the_end_is_honest(fault: str, way: Way) -> None:
    behave, code, message = LATER[fault]
    async with upstream(late(behave)) as server, bridge(SOCKETS, {"UPSTREAM": server.url}) as running:
        answer = await running.ask(way.body)
        if way.stream:
            streamed = answer.stream()
            assert streamed.said.text == "one two "
            assert streamed.error is not None
            error = streamed.error
        else:
            assert answer.status in (404, 502, 504)
            error = answer.error()
        assert (error["code"] or "").startswith(code), error
        assert message in error["message"]
        await running.until_counted(1, "bridge_upstream_errors_total", route=way.model)


GOOD = {
    "closes as agreed": [text("hello"), closing(1000)],
    "closes without a code": [text("hello"), closing()],
    "sends bytes": [framed(b'{"text":"hello"}', BINARY), closing(1000)],
    "masks": [framed(b'{"text":"hello"}', mask=MASK), closing(1000)],
    "pings between fragments": [
        framed(b'{"text":', fin=False) + framed(b"", PING) + framed(b'"hello"}', CONTINUATION),
        closing(1000),
    ],
    "cuts characters": [
        framed(b'{"text":"hel', fin=False),
        framed(b"", CONTINUATION, fin=False) * 50,
        framed(b'lo"}', CONTINUATION),
        closing(1000),
    ],
    "keeps alive with nothing": [framed(), text("hel"), framed(b" "), text("lo"), closing(1000)],
    "comes byte by byte": [bytes([byte]) for byte in text("hel") + text("lo") + closing(1000)],
    "comes at once": [text("hel") + framed(b"x", PING) + text("lo") + closing(1000)],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("good", GOOD)
async def test_an_odd_server_is_understood(good: str, *, stream: bool) -> None:
    """It closes the connection the moment it has spoken."""
    async with (
        upstream(says(*GOOD[good])) as server,
        bridge(SOCKETS, {"UPSTREAM": server.url}) as running,
    ):
        answer = await running.ask(Way("open", stream=stream, upstream=True).body)
        said = answer.stream().said if stream else answer.completion().said
        assert (said.text, said.finish_reason) == ("hello", "stop")
        assert await running.count("bridge_upstream_errors_total") == 0


@pytest.mark.parametrize("limit", ["64KiB", "4GiB", "100GiB"])
async def test_a_message_at_the_limit_is_read(limit: str) -> None:
    said = "x" * (LIMIT - len('{"text":""}'))
    file = SOCKETS.replace("frame: 64KiB, answer: 256KiB", f"frame: {limit}, answer: {limit}")
    async with (
        upstream(says(framed(b'{"text":"%b"}' % said.encode()), closing(1000))) as server,
        bridge(file.replace("answer: 64KiB", "answer: 65KiB"), {"UPSTREAM": server.url}) as running,
    ):
        answer = await running.ask(Way("open", stream=False, upstream=True).body)
        assert answer.completion().said.text == said
