"""What is told of requests when they are over: metrics, and a log line each.

    account = accounts.opened(series, id) ─▶ account.over(error, status) ─▶ …   accounts.tell()

It is noted at once and told a little later, some requests together: what the telling needs, from the code in
the processor's reach to the system call, is then paid for once.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from bridge.core.errors import UpstreamError
from bridge.telemetry.logging import log_all

if TYPE_CHECKING:
    from bridge.core.deltas import Usage
    from bridge.core.errors import BridgeError
    from bridge.exchange.exchange import Exchange
    from bridge.telemetry.metrics import Metrics, RouteMetrics

__all__ = ["RequestLog", "RequestRecord"]

_FLUSH_INTERVAL = 0.05  # seconds until it is told, at most
_MAX_BATCH = 16  # told together: more would be felt by the answers that wait meanwhile


class RequestLog:
    """The accounts of one process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._over: list[RequestRecord] = []
        self._timer: asyncio.TimerHandle | None = None

    def start(self, series: RouteMetrics, name: str) -> RequestRecord:
        """The account of a request that begins, by its id."""
        series.in_progress += 1
        if self._timer is None:
            self._soon()
        return RequestRecord(self, series, name)

    def release(self, series: RouteMetrics) -> None:
        """A request is over, in whatever way."""
        series.in_progress -= 1
        if self._timer is None:
            self._soon()

    def append(self, account: RequestRecord) -> None:
        """A request has had its answer."""
        self._over.append(account)
        if len(self._over) == _MAX_BATCH:
            self._loop.call_soon(self.flush)

    def _soon(self) -> None:
        self._timer = self._loop.call_later(_FLUSH_INTERVAL, self.flush)

    def flush(self) -> None:
        """Tell what was noted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        over, self._over = self._over, []
        for one in over:
            if one.dropped:
                one.series.dropped(one.dropped)
            one.series.observe_request(one.status, one.kind, one.duration, one.first, one.usage)
        self._metrics.settle()
        log_all("request", [(one.finished_at, _line(one)) for one in over])


class RequestRecord:
    """What is told of one request, once.

    `at` is when it was over, in seconds of Unix time; `duration` and, of a stream, its `first` output are in
    seconds from its beginning. A client that leaves when its reply is over has not left before it was.
    """

    __slots__ = (
        "_accounts",
        "_begun",
        "code",
        "dropped",
        "duration",
        "exchange",
        "finished_at",
        "first",
        "id",
        "kind",
        "series",
        "status",
        "streams",
        "usage",
    )  # fmt: skip

    def __init__(self, accounts: RequestLog, series: RouteMetrics, name: str) -> None:
        self._accounts = accounts
        self._begun = time.perf_counter()
        self.series = series
        self.id = name
        self.exchange: Exchange | None = None
        self.first: float | None = None
        self.finished_at = 0.0

    def first_byte_sent(self) -> None:
        """Bytes are about to leave for the client."""
        if self.first is None:
            self.first = time.perf_counter() - self._begun

    def finish(self, error: BridgeError | None, status: int) -> None:
        """The reply is over, under this status."""
        if self.finished_at:
            return
        if error is None:
            self._enter(status, "", None)
            return
        kind = str(error.status)
        if isinstance(error, UpstreamError):
            kind = str(error.kind)
            self.series.upstream_failed(kind)
        self._enter(status, kind, error.code)

    def client_disconnected(self) -> None:
        """The client left before it was."""
        if not self.finished_at:
            self.series.client_disconnected()
            self._enter(499, "client_disconnect", None)

    def release(self) -> None:
        """In any case."""
        self._accounts.release(self.series)

    def _enter(self, status: int, kind: str, code: str | None) -> None:
        self.finished_at = time.time()
        self.duration = time.perf_counter() - self._begun
        self.status = status
        self.kind = kind
        self.code = code
        self.usage: Usage | None = None
        self.dropped: tuple[str, ...] = ()
        self.streams = False
        exchange, self.exchange = self.exchange, None  # what was said is not kept until this is told
        if exchange is not None:
            self.usage = exchange.usage
            self.dropped = exchange.dropped
            self.streams = exchange.is_stream
        if not self.streams:
            self.first = None
        self._accounts.append(self)


def _line(one: RequestRecord) -> dict[str, Any]:
    """What the log says of a request: no content, and no secret."""
    said: dict[str, Any] = {
        "id": one.id, "route": one.series.route, "endpoint": one.series.endpoint, "status": one.status,
        "stream": one.streams, "ms": _milliseconds(one.duration),
    }  # fmt: skip
    if one.first is not None:
        said["first_ms"] = _milliseconds(one.first)
    if usage := one.usage:
        said |= {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        if usage.estimated:
            said["estimated"] = True
    if one.dropped:
        said["dropped"] = len(one.dropped)
    if one.kind:
        said["error"] = one.kind
    if one.code is not None:
        said["code"] = one.code
    return said


def _milliseconds(seconds: float) -> float:
    return round(seconds * 10_000) / 10
