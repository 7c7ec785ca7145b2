"""The timeouts of a route.

`send` runs while a request is sent, `first_byte` until its response begins, `idle` between two reads.

    connect ─▶ request sent ─▶ head ─▶ data ─▶ data ─▶ end           ResponseTimeouts, of HTTP
            send │  first_byte │  idle │  idle
    connect ─▶ request sent ─▶ message ─▶ message ─▶ end             Deadline, of a WebSocket

`total` counts from the beginning of the request and includes the connect.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, TypeVar

from bridge.upstream.errors import NETWORK_ERRORS, to_upstream_error
from bridge.upstream.response_parser import ResponseState

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bridge.routes.rules.transport import TimeoutsSpec
    from bridge.upstream.http_connection import HTTPConnection

__all__ = ["Deadline", "ResponseTimeouts"]

T = TypeVar("T")

_CHECK_INTERVAL = 1.0  # seconds between two checks of a connection in use
_SHORTEST_DELAY = 0.001  # seconds


class ResponseTimeouts:
    """The timeouts of the responses on one connection.

    A network read costs one reading of the clock. One timer for each connection checks every second, or when
    a timeout ends before, and stays when a response is over, since the next one will need the timer.
    """

    __slots__ = (
        "_connection", "_end", "_handle", "_loop", "_timer_at", "_unsent", "last_activity", "timeouts",
    )  # fmt: skip

    timeouts: TimeoutsSpec  # of the current request's route

    def __init__(self, connection: HTTPConnection) -> None:
        # Per connection.
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._timer_at = math.inf  # when the timer fires, in seconds of the loop's clock, as all times here
        # Per request.
        self._end = math.inf  # when `total` ends
        # The connection sets this time for each read. A timer for each read would cost more than the rest.
        self.last_activity = 0.0  # when the upstream last sent or accepted bytes, or began to be awaited
        self._unsent = 0  # bytes of the request, at the last check

    def start(self, timeouts: TimeoutsSpec, started: float) -> None:
        """Watch the response to a request that began at `started`."""
        self.timeouts = timeouts
        self._end = math.inf if timeouts.total is None else started + timeouts.total
        self._unsent = 0
        self.last_activity = now = self._loop.time()
        if self._handle is None or timeouts.until_head < _CHECK_INTERVAL or timeouts.total is not None:
            self._schedule(now, timeouts.until_head)  # otherwise the running timer fires soon enough

    def expect_data(self) -> None:
        """Start `idle`: a task begins to wait for the next read of the body."""
        self.last_activity = now = self._loop.time()
        if self.timeouts.idle < _CHECK_INTERVAL:
            self._schedule(now, self.timeouts.idle)

    def stop(self) -> None:
        """Stop the timer of a connection that is closed."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self, now: float, remaining: float) -> None:
        """Let the timer fire in `remaining` seconds at the latest."""
        at = now + max(min(_CHECK_INTERVAL, remaining, self._end - now), _SHORTEST_DELAY)
        if self._handle is not None:
            if self._timer_at <= at:
                return
            self._handle.cancel()
        self._timer_at = at
        self._handle = self._loop.call_later(at - now, self._check)

    def _check(self) -> None:
        self._handle = None
        connection, timeouts = self._connection, self.timeouts
        response = connection.response
        if response.state in (ResponseState.IDLE, ResponseState.COMPLETE) or response.error is not None:
            return
        now = self._loop.time()
        if response.state is ResponseState.BODY:
            limit, message = timeouts.idle, "nothing arrived for"
        else:
            limit, message = timeouts.first_byte, "no response began within"
            if self._is_sending(now):
                limit, message = timeouts.send, "nothing of the request was accepted for"
        # While a slow client is being written to, the upstream is not awaited and has no time limit.
        waited = now - self.last_activity if connection.is_awaited else 0.0
        if now >= self._end:
            connection.fail(TimeoutError(f"the response took more than {timeouts.total:g} s"))
        elif waited >= limit:
            connection.fail(TimeoutError(f"{message} {limit:g} s"))
        else:
            self._schedule(now, limit - waited)

    def _is_sending(self, now: float) -> bool:
        """Return whether a part of the request is not sent yet. Bytes that were sent start the wait again."""
        unsent = self._connection.pending_write_bytes
        if unsent != self._unsent:
            self._unsent = unsent
            self.last_activity = now
        return unsent > 0


class Deadline:
    """The timeouts of a series of waits: each has its own limit, and all of them share `total`."""

    __slots__ = ("_end", "_url", "timeouts")

    def __init__(self, timeouts: TimeoutsSpec, url: str, started: float) -> None:
        self.timeouts = timeouts
        self._url = url
        self._end = math.inf if timeouts.total is None else started + timeouts.total

    async def wait_for(
        self, seconds: float, awaitable: Awaitable[T], message: str, causes: tuple[str, ...] = ()
    ) -> T:
        """Return the result of an awaitable. Raise UpstreamError for a timeout or a broken connection.

        `message` is the text of the error when the wait takes more than `seconds`, `causes` are its causes.
        """
        end = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(min(end, self._end)):
                return await awaitable
        except TimeoutError as error:
            text = message if end <= self._end else f"the response took more than {self.timeouts.total:g} s"
            failure = to_upstream_error(TimeoutError(text), self._url, self.timeouts)
            failure.causes = causes or failure.causes
            raise failure from error
        except NETWORK_ERRORS as error:
            raise to_upstream_error(error, self._url, self.timeouts) from error
