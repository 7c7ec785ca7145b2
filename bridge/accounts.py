"""What is told of requests when they are over: metrics, and a log line each.

    account = accounts.opened(series, reply) ─▶ account.over(error) ─▶ …   accounts.tell()

It is noted at once and told a little later, some requests together: what the telling needs, from the code in
the processor's reach to the system call, is then paid for once.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.errors import UpstreamError
from bridge.logs import log_all

if TYPE_CHECKING:
    from bridge.deltas import Usage
    from bridge.errors import BridgeError
    from bridge.exchange.exchange import Exchange
    from bridge.metrics import Metrics, Series
    from bridge.replying import Reply

__all__ = ["Account", "Accounts", "Entry"]

_TOGETHER = 0.05  # seconds until it is told, at most
_MOST = 32  # told together: more would be felt by the answers that wait meanwhile


class Entry(NamedTuple):
    """One request that is over; `at` is when, in seconds of Unix time."""

    series: Series
    id: str
    at: float
    status: int
    kind: str
    code: str | None
    streams: bool
    duration: float
    first: float | None
    usage: Usage | None
    dropped: tuple[str, ...]


class Accounts:
    """The accounts of one process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._entries: list[Entry] = []
        self._timer: asyncio.TimerHandle | None = None

    def opened(self, series: Series, reply: Reply) -> Account:
        """The account of a request that begins."""
        series.in_progress += 1
        if self._timer is None:
            self._soon()
        return Account(self, series, reply)

    def closed(self, series: Series) -> None:
        """A request is over, in whatever way."""
        series.in_progress -= 1
        if self._timer is None:
            self._soon()

    def enter(self, entry: Entry) -> None:
        """A request has had its answer."""
        self._entries.append(entry)
        if len(self._entries) == _MOST:
            self._loop.call_soon(self.tell)

    def _soon(self) -> None:
        self._timer = self._loop.call_later(_TOGETHER, self.tell)

    def tell(self) -> None:
        """Tell what was noted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._metrics.settle()
        entries, self._entries = self._entries, []
        for entry in entries:
            if entry.dropped:
                entry.series.dropped(entry.dropped)
            entry.series.answered(entry.status, entry.kind, entry.duration, entry.first, entry.usage)
        log_all("request", [(entry.at, _line(entry)) for entry in entries])


class Account:
    """What is told of one request, once.

    A client that leaves when its reply is over has not left before it was.
    """

    __slots__ = ("_accounts", "_begun", "_first", "_reply", "_series", "_told", "exchange")

    def __init__(self, accounts: Accounts, series: Series, reply: Reply) -> None:
        self._accounts = accounts
        self._series = series
        self._reply = reply
        self._begun = time.perf_counter()
        self._first: float | None = None
        self._told = False
        self.exchange: Exchange | None = None

    def output(self) -> None:
        """Bytes are about to leave for the client."""
        if self._first is None:
            self._first = time.perf_counter() - self._begun

    def over(self, error: BridgeError | None, *, status: int | None = None) -> None:
        """The reply is over."""
        if self._told:
            return
        kind = ""
        if isinstance(error, UpstreamError):
            kind = str(error.kind)
            self._series.failed(kind)
        elif error is not None:
            kind = str(error.status)
        self._enter(status or self._reply.status or 200, kind, None if error is None else error.code)

    def left(self) -> None:
        """The client left before it was."""
        if not self._told:
            self._series.left()
            self._enter(499, "client_disconnect", None)

    def close(self) -> None:
        """In any case."""
        self._accounts.closed(self._series)

    def _enter(self, status: int, kind: str, code: str | None) -> None:
        self._told = True
        exchange, duration = self.exchange, time.perf_counter() - self._begun
        usage = dropped = None
        streams = False
        if exchange is not None:
            usage, dropped, streams = exchange.usage, exchange.dropped, exchange.streams
        first = self._first if streams else None
        # In the order of the entry's members; keywords would cost as much again.
        self._accounts.enter(
            Entry(
                self._series, self._reply.id, time.time(), status, kind, code, streams, duration, first,
                usage, dropped or (),
            )
        )  # fmt: skip


def _line(entry: Entry) -> dict[str, Any]:
    """What the log says of a request: no content, and no secret."""
    said: dict[str, Any] = {
        "id": entry.id, "route": entry.series.route, "endpoint": entry.series.endpoint,
        "status": entry.status, "stream": entry.streams, "ms": round(entry.duration * 1000, 1),
    }  # fmt: skip
    if entry.first is not None:
        said["first_ms"] = round(entry.first * 1000, 1)
    if usage := entry.usage:
        said |= {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        if usage.estimated:
            said["estimated"] = True
    if entry.dropped:
        said["dropped"] = len(entry.dropped)
    if entry.kind:
        said["error"] = entry.kind
    if entry.code is not None:
        said["code"] = entry.code
    return said
