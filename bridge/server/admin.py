"""The admin port: /metrics for Prometheus, /healthz and /readyz for whoever runs the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.errors import RequestError
from bridge.proxy.outcomes import log_internal_error
from bridge.server.request_ids import RequestIds
from bridge.server.response import DateHeader, Response

if TYPE_CHECKING:
    from bridge.server.api import ServerState
    from bridge.server.request import Request
    from bridge.telemetry.metrics import Metrics
    from bridge.telemetry.request_log import RequestLog

__all__ = ["AdminHandler"]

_TEXT = "text/plain; charset=utf-8"
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"  # as Prometheus names its own


class AdminHandler:
    """Answers whoever runs the bridge."""

    def __init__(self, state: ServerState, accounts: RequestLog, metrics: Metrics) -> None:
        self._state = state
        self._accounts = accounts
        self._metrics = metrics
        self._dates = DateHeader()
        self._names = RequestIds()

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        reply = Response(request, f"req_{self._names()}", None, self._dates)
        try:
            return await self._answer(request, reply)
        except RequestError as error:
            return reply.set_error(error)
        except Exception as error:
            return reply.set_error(log_internal_error(error))

    async def _answer(self, request: Request, reply: Response) -> Response:
        if request.error is not None:
            raise request.error
        path = request.path
        if path not in ("/metrics", "/healthz", "/readyz"):
            expected = "/metrics, /healthz or /readyz"
            raise RequestError(404, f"there is no {path}: expected {expected}", code="unknown_url")
        if request.method not in ("GET", "HEAD"):
            error = RequestError(405, f"{request.method} is not allowed: use GET", code="method_not_allowed")
            error.headers["Allow"] = "GET, HEAD"
            raise error
        if path == "/metrics":
            self._accounts.flush()
            return reply.set_body(200, await self._metrics.exposition(), _EXPOSITION)
        if path == "/readyz":
            if self._state.draining:
                return reply.set_body(503, b"draining\n", _TEXT)
            return reply.set_body(200, f"ready: {len(self._state.table.routes)} routes\n".encode(), _TEXT)
        return reply.set_body(200, b"ok\n", _TEXT)
