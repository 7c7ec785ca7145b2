"""How long an answer is waited for: until its head, and for each piece of its body.

    connect ─▶ request sent ─▶ head ─▶ piece ─▶ piece ─▶ end
                     first_byte │      idle between two, `total` over all         Patience
    connect ─▶ asked ─▶ message ─▶ message ─▶ end                                  Waiting, of a websocket

One timer a second for each connection that is in use, and nothing but a clock reading for each piece.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol, TypeVar

import aiohttp

from bridge.upstream.errors import to_upstream_error

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bridge.routes.rules.settings import TimeoutsSpec

__all__ = ["Deadline", "ResponseTimeouts"]

T = TypeVar("T")

_TICK = 1.0  # seconds between two looks at a stalled connection


class WatchedConnection(Protocol):
    """A connection whose answer is awaited."""

    active: bool
    status: int
    response_complete: bool
    error: Exception | None

    @property
    def has_reader(self) -> bool:
        """Whether someone waits for more."""

    @property
    def pending_write_bytes(self) -> int:
        """How many bytes of the request have not left."""

    def set_exception(self, error: Exception) -> None:
        """Nothing more is awaited."""


class ResponseTimeouts:
    """Ends the answer of a connection that waits too long: see `wires`.

    While a slow client is being written to nobody waits, and that is no fault of the server's. The timer
    stays when an answer is over: the next one on the same connection needs none of its own.
    """

    __slots__ = ("_at", "_end", "_handle", "_loop", "_since", "_unsent", "_wire", "timeouts")

    timeouts: TimeoutsSpec

    def __init__(self, wire: WatchedConnection) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._at = self._end = math.inf
        self._since = 0.0
        self._unsent = 0

    def start(self, timeouts: TimeoutsSpec, begun: float) -> None:
        """A request is being sent; the time for all of its answer began at `begun`."""
        self.timeouts = timeouts
        self._end = math.inf if timeouts.total is None else begun + timeouts.total
        self._unsent = 0
        self._since = now = self._loop.time()
        if self._handle is None or timeouts.first_byte < _TICK or timeouts.total is not None:
            self._schedule(now, timeouts.first_byte)  # else it looks soon enough

    def expect_data(self) -> None:
        """The next piece of a body is awaited."""
        self._since = now = self._loop.time()
        if self.timeouts.idle < _TICK:
            self._schedule(now, self.timeouts.idle)

    def register_activity(self) -> None:
        """Something has come."""
        self._since = self._loop.time()

    def stop(self) -> None:
        """The connection is closed."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self, now: float, left: float) -> None:
        """Look again by then, at the latest."""
        at = now + max(min(_TICK, left, self._end - now), 0.001)
        if self._handle is not None:
            if self._at <= at:
                return
            self._handle.cancel()
        self._at = at
        self._handle = self._loop.call_later(at - now, self._check)

    def _check(self) -> None:
        self._handle = None
        wire, timeouts = self._wire, self.timeouts
        if not wire.active or wire.response_complete or wire.error is not None:
            return
        now = self._loop.time()
        if not wire.status:
            self._note_progress(now)
        patience = timeouts.idle if wire.status else timeouts.first_byte
        waited = now - self._since if wire.has_reader else 0.0
        if now >= self._end:
            wire.set_exception(TimeoutError(f"the answer took more than {timeouts.total:g} s"))
        elif waited >= patience:
            what = "nothing arrived for" if wire.status else "no answer began in"
            wire.set_exception(TimeoutError(f"{what} {patience:g} s"))
        else:
            self._schedule(now, patience - waited)

    def _note_progress(self, now: float) -> None:
        """The server's time begins when it has the whole request."""
        unsent = self._wire.pending_write_bytes
        if unsent != self._unsent:
            self._unsent = unsent
            self._since = now


class Deadline:
    """Waits for one thing after the other: each has its limit, and all of them have `total`."""

    __slots__ = ("_end", "_url", "timeouts")

    def __init__(self, timeouts: TimeoutsSpec, url: str, begun: float) -> None:
        self.timeouts = timeouts
        self._url = url
        self._end = math.inf if timeouts.total is None else begun + timeouts.total

    async def wait_for(self, seconds: float, awaited: Awaitable[T], complaint: str) -> T:
        """What is awaited. Raises UpstreamError: too late, or the connection broke."""
        end = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(min(end, self._end)):
                return await awaited
        except TimeoutError as error:
            what = complaint if end <= self._end else f"the answer took more than {self.timeouts.total:g} s"
            raise to_upstream_error(TimeoutError(what), self._url, self.timeouts) from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
            raise to_upstream_error(error, self._url, self.timeouts) from error
