"""What is told of a request when it is over: metrics and a log line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bridge.errors import UpstreamError
from bridge.logs import log

if TYPE_CHECKING:
    from bridge.errors import BridgeError
    from bridge.exchange.exchange import Exchange
    from bridge.metrics import Metrics
    from bridge.openai.endpoints import Endpoint
    from bridge.replying import Reply
    from bridge.routes.route import Route

__all__ = ["Account"]


class Account:
    """What is told of one request, once: metrics and a log line.

    A client that leaves when its reply is over has not left before it was.
    """

    def __init__(self, route: Route, endpoint: Endpoint, model: str, reply: Reply, metrics: Metrics) -> None:
        self._route = route
        self._endpoint = endpoint
        self._model = model
        self._reply = reply
        self._metrics = metrics
        self._begun = time.perf_counter()
        self._first: float | None = None
        self._told = False
        self.exchange: Exchange | None = None
        metrics.began(route.name)

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
            self._metrics.failed(self._route.name, kind)
        elif error is not None:
            kind = str(error.status)
        self._tell(status or self._reply.status or 200, kind, error)

    def left(self) -> None:
        """The client left before it was."""
        if self._told:
            return
        self._metrics.left(self._route.name)
        self._tell(499, "client_disconnect", None)

    def close(self) -> None:
        """In any case."""
        self._metrics.ended(self._route.name)

    def _tell(self, status: int, kind: str, error: BridgeError | None) -> None:
        self._told = True
        exchange, duration = self.exchange, time.perf_counter() - self._begun
        usage = exchange.usage if exchange else None
        dropped = exchange.dropped if exchange else ()
        streams = bool(exchange and exchange.streams)
        if dropped:
            self._metrics.dropped(self._route.name, dropped)
        first = self._first if streams else None
        labels = (self._endpoint.operation, self._model, kind, self._route.name)
        self._metrics.answered(self._route.name, self._endpoint.name, status)
        self._metrics.observe(labels, duration, first, usage)
        said: dict[str, Any] = {
            "id": self._reply.id, "route": self._route.name, "endpoint": self._endpoint.name,
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
