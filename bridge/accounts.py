"""What is told of a request when it is over: metrics and a log line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bridge.errors import UpstreamError
from bridge.logs import log

if TYPE_CHECKING:
    from bridge.errors import BridgeError
    from bridge.exchange.exchange import Exchange
    from bridge.metrics import Series
    from bridge.replying import Reply

__all__ = ["Account"]


class Account:
    """What is told of one request, once: metrics and a log line.

    A client that leaves when its reply is over has not left before it was.
    """

    __slots__ = ("_begun", "_first", "_reply", "_series", "_told", "exchange")

    def __init__(self, series: Series, reply: Reply) -> None:
        self._series = series
        self._reply = reply
        self._begun = time.perf_counter()
        self._first: float | None = None
        self._told = False
        self.exchange: Exchange | None = None
        series.began()

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
        self._tell(status or self._reply.status or 200, kind, error)

    def left(self) -> None:
        """The client left before it was."""
        if self._told:
            return
        self._series.left()
        self._tell(499, "client_disconnect", None)

    def close(self) -> None:
        """In any case."""
        self._series.ended()

    def _tell(self, status: int, kind: str, error: BridgeError | None) -> None:
        self._told = True
        exchange, series, duration = self.exchange, self._series, time.perf_counter() - self._begun
        usage = exchange.usage if exchange else None
        dropped = exchange.dropped if exchange else ()
        streams = bool(exchange and exchange.streams)
        if dropped:
            series.dropped(dropped)
        first = self._first if streams else None
        series.answered(status, kind, duration, first, usage)
        said: dict[str, Any] = {
            "id": self._reply.id, "route": series.route, "endpoint": series.endpoint,
            "status": status, "stream": streams, "ms": round(duration * 1000, 1),
        }  # fmt: skip
        if first is not None:
            said["first_ms"] = round(first * 1000, 1)
        if usage is not None:
            said |= {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
            if usage.estimated:
                said["estimated"] = True
        if dropped:
            said["dropped"] = len(dropped)
        if kind:
            said["error"] = kind
        if error is not None:
            said["code"] = error.code
        log("request", **said)
