"""The faults: what an upstream does instead of the correct response.

    peer: Connection                        the request has been read
    await fault.act(peer, response, stage)  the upstream closes the connection after it

A fault of `FAULTS` happens at a stage of the response. One of `WRONG_HEADS` is a response of its own.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.raw_upstream import chunk, head, http_response

if TYPE_CHECKING:
    from tests.faults.responses import FaultlessResponse
    from tests.raw_upstream import Connection

__all__ = ["FAULTS", "WRONG_HEADS", "Fault", "act_wrong_head"]

Act = Callable[["Connection", bytes], Awaitable[None]]  # with the rest of the correct response

_LONG_LINE = b"a" * 10_000_000
_ENDLESS_ROUNDS = 1000  # of 64 KiB: a limit ends them earlier, and a proxy without limits ends some time


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        name: The row of the table.
        act: The fault itself.
        stages: A pattern of the stages at which the fault is possible.
        harmless: A pattern of the stages at which the client gets the whole response nevertheless.
    """

    name: str
    act: Act
    stages: str = ""
    harmless: str = "after the end"

    def possible(self, stage: str) -> bool:
        """Return whether the fault can happen at a stage."""
        return re.search(self.stages, stage) is not None

    def is_harmless(self, stage: str) -> bool:
        """Return whether the client gets the whole response."""
        return re.search(self.harmless, stage) is not None

    async def run(self, peer: Connection, response: FaultlessResponse, stage: str) -> None:
        """Send the response up to the stage, then do the fault."""
        await peer.send(response.before(stage))
        await asyncio.sleep(0.01)  # the bytes so far are read by themselves
        await self.act(peer, response.after(stage))


async def _reset(peer: Connection, _: bytes) -> None:
    peer.abort()


async def _close(peer: Connection, _: bytes) -> None:
    pass


async def _silence(peer: Connection, _: bytes) -> None:
    await peer.wait_closed()


async def _drip(peer: Connection, rest: bytes) -> None:
    for index in range(len(rest)):
        await peer.send(rest[index : index + 1])
        await asyncio.sleep(0)


def _sending(*pieces: bytes) -> Act:
    async def act(peer: Connection, rest: bytes) -> None:
        for piece in pieces:
            await peer.send(piece)
        await peer.send(rest)
        await peer.wait_closed()

    return act


async def _invalid_utf8(peer: Connection, rest: bytes) -> None:
    await peer.send(rest.replace(b"sk", b"\xff\xfe"))


def _endless(piece: bytes) -> Act:
    async def act(peer: Connection, _: bytes) -> None:
        for _round in range(_ENDLESS_ROUNDS):
            await peer.send(piece)

    return act


_BODY = "after the head|frame|before the end"
_FRAMES = "after the head|after the first frame|before the end"

FAULTS = (
    Fault("reset", _reset),
    Fault("close", _close),
    Fault("silence", _silence),
    Fault("one byte at a time", _drip, harmless=""),
    Fault("no HTTP", _sending(b"\xff\xfe no HTTP \r\n\r\n"), stages="before the head|in the head"),
    Fault("invalid chunk size", _sending(b"zz\r\n"), stages=_BODY),
    Fault("invalid UTF-8", _invalid_utf8, harmless="", stages="body|after the head|frame"),
    Fault("a frame that is not JSON", _sending(chunk(b"data: {'a': 1}\n\n")), stages=_FRAMES),
    Fault("a line of 10 MB", _sending(chunk(_LONG_LINE)), stages=_FRAMES),
    Fault("endless headers", _endless(b"X-A: b\r\n" * 8192), stages="in the head"),
    Fault("endless comments", _endless(chunk(b": c\n\n" * 13_000)), stages=_FRAMES),
    Fault("an endless line", _endless(chunk(b"a" * 65536)), stages=_BODY),
)


@dataclass(frozen=True)
class WrongHead:
    """A response whose head is wrong or unusual.

    Attributes:
        name: The row of the table.
        before: Bytes before the correct response, or instead of it.
        alone: Whether `before` is the whole response.
        harmless: Whether the client gets the correct response.
        closes: Whether the upstream closes the connection after it.
    """

    name: str
    before: bytes
    alone: bool = True
    harmless: bool = False
    closes: bool = False


_HTML = b"<html><head><title>Error</title></head><body>Something <b>failed</b>.</body></html>"
_JSON = b'{"error": {"message": "the model is overloaded", "type": "server", "code": "overloaded"}}'
_STATUSES = (400, 401, 404, 429, 500, 503)


def _redirect(status: int) -> bytes:
    return head(status, location="http://127.0.0.1:9/", content_length="0", connection="close")


def _response(body: bytes, status: int = 200, **headers: str) -> bytes:
    return http_response(body, status, connection="close", **headers)


def _errors() -> list[WrongHead]:
    return [
        fault
        for status in _STATUSES
        for fault in (
            WrongHead(f"{status} with HTML", _response(_HTML, status, content_type="text/html")),
            WrongHead(f"{status} with JSON", _response(_JSON, status)),
            WrongHead(f"{status} with nothing", _response(b"", status)),
        )
    ]


WRONG_HEADS = (
    WrongHead("100 first", head(100), alone=False, harmless=True),
    WrongHead("103 first", head(103, link="</a>; rel=preload"), alone=False, harmless=True),
    WrongHead("100 for ever", head(100) * 100_000),
    WrongHead("101", head(101, upgrade="h2c", connection="upgrade")),
    WrongHead("204", head(204, connection="close")),
    WrongHead("304", head(304, connection="close")),
    WrongHead("301", _redirect(301)),
    WrongHead("307", _redirect(307)),
    WrongHead("200 with HTML", _response(_HTML, content_type="text/html")),
    WrongHead("200 with nothing", _response(b"")),
    WrongHead("200 with null", _response(b"null")),
    WrongHead("200 with an error in JSON", _response(_JSON)),
    WrongHead("a length too long", head(200, content_length="1000") + b"{}", closes=True),
    WrongHead("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}\n"),
    WrongHead("a negative length", head(200, content_length="-1") + b"{}"),
    WrongHead("a status of three zeros", b"HTTP/1.1 000 Zero\r\nContent-Length: 0\r\n\r\n"),
    WrongHead("a status of 999", head(999, content_length="0", connection="close")),
    WrongHead("HTTP/2", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18),
    WrongHead("gzip that is none", _response(b"no gzip at all", content_encoding="gzip")),
    WrongHead("gzip cut short", _response(gzip.compress(_JSON)[:-12], content_encoding="gzip")),
    WrongHead("an unknown coding", _response(b"abc", content_encoding="zz")),
    *_errors(),
)  # fmt: skip


async def act_wrong_head(peer: Connection, fault: WrongHead, response: FaultlessResponse) -> None:
    """Send a wrong head, and after it the correct response unless it stands alone."""
    await peer.send(fault.before)
    if not fault.alone:
        await peer.send(response.after("before the head"))
    if not fault.closes:
        await peer.wait_closed()
