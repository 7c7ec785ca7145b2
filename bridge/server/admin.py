"""The admin port: /metrics for Prometheus, /healthz and /readyz for whoever runs the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.errors import RequestError
from bridge.proxy.forwarder import broken
from bridge.server.request_ids import Names
from bridge.server.response import Dates, Reply

if TYPE_CHECKING:
    from bridge.server.api import State
    from bridge.server.request import Request
    from bridge.telemetry.metrics import Metrics
    from bridge.telemetry.request_log import Accounts

__all__ = ["Admin"]

_TEXT = "text/plain; charset=utf-8"
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"  # as Prometheus names its own


class Admin:
    """Answers whoever runs the bridge."""

    def __init__(self, state: State, accounts: Accounts, metrics: Metrics) -> None:
        self._state = state
        self._accounts = accounts
        self._metrics = metrics
        self._dates = Dates()
        self._names = Names()

    async def answer(self, request: Request) -> Reply:
        """Answer one request."""
        reply = Reply(request, f"req_{self._names()}", None, self._dates)
        try:
            return await self._answer(request, reply)
        except RequestError as error:
            return reply.failed(error)
        except Exception as error:
            return reply.failed(broken(error))

    async def _answer(self, request: Request, reply: Reply) -> Reply:
        if request.fault is not None:
            raise request.fault
        path = request.path
        if path not in ("/metrics", "/healthz", "/readyz"):
            expected = "/metrics, /healthz or /readyz"
            raise RequestError(404, f"there is no {path}: expected {expected}", code="unknown_url")
        if request.method not in ("GET", "HEAD"):
            error = RequestError(405, f"{request.method} is not allowed: use GET", code="method_not_allowed")
            error.headers["Allow"] = "GET, HEAD"
            raise error
        if path == "/metrics":
            self._accounts.tell()
            return reply.whole(200, await self._metrics.exposition(), _EXPOSITION)
        if path == "/readyz":
            if self._state.draining:
                return reply.whole(503, b"draining\n", _TEXT)
            return reply.whole(200, f"ready: {len(self._state.table.routes)} routes\n".encode(), _TEXT)
        return reply.whole(200, b"ok\n", _TEXT)
