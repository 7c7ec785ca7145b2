"""How long an answer is waited for: until its head, and for each piece of its body.

    connect ─▶ request sent ─▶ head ─▶ piece ─▶ piece ─▶ end
                     first_byte │      idle between two, `total` over all         Patience
    connect ─▶ asked ─▶ message ─▶ message ─▶ end                                  Waiting, of a websocket

One timer a second for each answer, and nothing but a clock reading for each piece of it. aiohttp bounds
neither a head that does not come nor a body that stalls, and waits for ever on some broken chunks though the
server has closed.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, TypeVar

import aiohttp

from bridge.border import ours

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.streams import StreamReader

    from bridge.routes.spec.transport import TimeoutsSpec

__all__ = ["Patience", "Waiting"]

T = TypeVar("T")

_TICK = 1.0  # seconds between two looks at a stalled connection


class Patience:
    """Ends a read that waits too long, or for a connection that is gone.

    While a slow client is being written to nobody reads, and that is no fault of the server's.
    """

    __slots__ = (
        "_end", "_gone", "_handle", "_loop", "_payload", "_protocol", "_since", "_timeouts", "_unsent",
        "_waiting",
    )  # fmt: skip

    def __init__(self, protocol: ResponseHandler, timeouts: TimeoutsSpec, begun: float) -> None:
        self._protocol = protocol
        self._payload: StreamReader | None = None
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._end = math.inf if timeouts.total is None else begun + timeouts.total
        self._unsent = 0
        self._waiting = True
        self._gone = False
        self._handle = self._later(self._since, timeouts.first_byte)

    def reads(self, payload: StreamReader) -> None:
        """The head has come, this is the body."""
        self._payload = payload
        self._waiting = False
        if self._timeouts.idle < _TICK:
            self._handle.cancel()
            self._handle = self._later(self._loop.time(), self._timeouts.idle)

    def waits(self) -> None:
        """The next piece is awaited."""
        self._since = self._loop.time()
        self._waiting = True

    def rests(self) -> None:
        """It has come, and nobody waits for another yet."""
        self._waiting = False

    def stop(self) -> None:
        """The answer is over."""
        self._handle.cancel()

    def _later(self, now: float, left: float) -> asyncio.TimerHandle:
        return self._loop.call_later(max(min(_TICK, left, self._end - now), 0.001), self._look)

    def _look(self) -> None:
        now = self._loop.time()
        timeouts, payload = self._timeouts, self._payload
        if payload is not None and (payload.at_eof() or payload.exception() is not None):
            return
        patience = timeouts.first_byte if payload is None else timeouts.idle
        if payload is None:
            self._note_progress(now)
        waited = now - self._since if self._waiting else 0.0
        if now >= self._end:
            self._fail(TimeoutError(f"the answer took more than {timeouts.total:g} s"))
        elif waited >= patience:
            what = "no answer began in" if payload is None else "nothing arrived for"
            self._fail(TimeoutError(f"{what} {patience:g} s"))
        elif self._waiting and self._gone:
            self._fail(aiohttp.ClientPayloadError("the connection is gone"))
        else:
            wire = self._protocol.transport
            # Seen twice, since what has arrived before the end may still be on its way to the reader.
            self._gone = self._waiting and (wire is None or wire.is_closing())
            self._handle = self._later(now, patience - waited)

    def _note_progress(self, now: float) -> None:
        """The server's time begins when it has the whole request."""
        wire = self._protocol.transport
        unsent = wire.get_write_buffer_size() if wire is not None else 0
        if unsent != self._unsent:
            self._unsent = unsent
            self._since = now

    def _fail(self, error: Exception) -> None:
        if self._payload is None:
            self._protocol.set_exception(error)
        else:
            self._payload.set_exception(error)


class Waiting:
    """Waits for one thing after the other: each has its limit, and all of them have `total`."""

    __slots__ = ("_end", "_url", "timeouts")

    def __init__(self, timeouts: TimeoutsSpec, url: str, begun: float) -> None:
        self.timeouts = timeouts
        self._url = url
        self._end = math.inf if timeouts.total is None else begun + timeouts.total

    async def at_most(self, seconds: float, awaited: Awaitable[T], complaint: str) -> T:
        """What is awaited. Raises UpstreamError: too late, or the connection broke."""
        end = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(min(end, self._end)):
                return await awaited
        except TimeoutError as error:
            what = complaint if end <= self._end else f"the answer took more than {self.timeouts.total:g} s"
            raise ours(TimeoutError(what), self._url, self.timeouts) from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
            raise ours(error, self._url, self.timeouts) from error
