"""How long an upstream is waited for: until its head, and for each piece of its body.

    connect ─▶ request sent ─▶ head          Sending: `connect`, then `first_byte`
                                 ─▶ piece ─▶ piece ─▶ end     Watch: `idle` between two, `total` over all

aiohttp's client bounds neither a head that does not come nor a body that stalls, and waits for ever on
some broken chunks though the server has closed.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from bridge.routes.spec.transport import TimeoutsSpec

__all__ = ["Sending", "Watch"]

_TICK = 1.0  # seconds between two looks at a stalled connection


class Sending:
    """One sending of a request. `reused`: on a connection that had been used before."""

    __slots__ = ("_end", "_timeouts", "over", "reused", "timer")

    def __init__(self, timeouts: TimeoutsSpec, begun: float) -> None:
        self._timeouts = timeouts
        self._end = math.inf if timeouts.total is None else begun + timeouts.total
        self.reused = False
        self.over = False
        now = asyncio.get_running_loop().time()
        self.timer = asyncio.timeout_at(min(now + timeouts.connect + timeouts.first_byte, self._end))

    def goes_on(self) -> None:
        """The connection stands, or more of the request was sent on it."""
        if not (self.over or self.timer.expired()):
            now = asyncio.get_running_loop().time()
            self.timer.reschedule(min(now + self._timeouts.first_byte, self._end))

    def complaint(self) -> str:
        """What took too long."""
        total = self._timeouts.total
        if total is not None and self.timer.when() == self._end:
            return f"the answer took more than {total:g} s"
        return f"no answer began in {self._timeouts.first_byte:g} s"


class Watch:
    """Ends a read that waits too long, or for a connection that is gone.

    One timer a second for each answer, and nothing but a clock reading for each piece of it. While a slow
    client is being written to nobody reads, and that is no fault of the server's.
    """

    __slots__ = ("_end", "_gone", "_handle", "_loop", "_response", "_since", "_timeouts", "_waiting")

    def __init__(self, response: aiohttp.ClientResponse, timeouts: TimeoutsSpec, begun: float) -> None:
        self._response = response
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._end = math.inf if timeouts.total is None else begun + timeouts.total
        self._waiting = False
        self._gone = False
        self._handle = self._later(self._since, timeouts.idle)

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

    def _later(self, now: float, idle: float) -> asyncio.TimerHandle:
        return self._loop.call_later(max(min(_TICK, idle, self._end - now), 0.001), self._look)

    def _look(self) -> None:
        now = self._loop.time()
        timeouts = self._timeouts
        content = self._response.content
        if content.at_eof() or content.exception() is not None:
            return
        waited = now - self._since if self._waiting else 0.0
        if now >= self._end:
            content.set_exception(TimeoutError(f"the answer took more than {timeouts.total:g} s"))
        elif waited >= timeouts.idle:
            content.set_exception(TimeoutError(f"nothing arrived for {timeouts.idle:g} s"))
        elif self._waiting and self._gone:
            content.set_exception(aiohttp.ClientPayloadError("the connection is gone"))
        else:
            connection = self._response.connection
            # Seen twice, since what has arrived before the end may still be on its way to the reader.
            self._gone = self._waiting and (
                connection is None or connection.transport is None or connection.transport.is_closing()
            )
            self._handle = self._later(now, timeouts.idle - waited)
