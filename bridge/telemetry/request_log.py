"""The metrics and the log line of a request, written when the response is complete.

record = RequestRecord(metrics, context, id)
record.finish(error, status)        or record.client_disconnected()
record.release()
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from bridge.core.errors import UpstreamError
from bridge.exchange.request_context import UNKNOWN_CLIENT
from bridge.telemetry.logging import log_members

if TYPE_CHECKING:
    from bridge.core.deltas import Usage
    from bridge.core.errors import BridgeError
    from bridge.exchange.exchange import Exchange
    from bridge.exchange.request_context import Client
    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.telemetry.metrics import Metrics

__all__ = ["RequestRecord"]

_DISCONNECTED = 499  # nginx's status for a client that disconnects


class RequestRecord:
    """One request of a route. The first of `finish` and `client_disconnected` counts.

    exchange: the exchange of the request, once there is one.
    """

    __slots__ = (
        "_client",
        "_endpoint",
        "_fallback",
        "_finished",
        "_first",
        "_id",
        "_in_progress",
        "_metrics",
        "_model",
        "_route",
        "_started",
        "exchange",
    )

    def __init__(
        self,
        metrics: Metrics,
        route: str,
        endpoint: EndpointSpec,
        model: str,
        id: str,  # noqa: A002
        client: Client = UNKNOWN_CLIENT,
    ) -> None:
        self._started = time.perf_counter()
        self._metrics = metrics
        self._route = route
        self._endpoint = endpoint
        self._model = model  # the model in the routes file that the request's model matches
        self._id = id
        self._client = client
        self._first: float | None = None  # seconds from the request to the first output of a stream
        self._finished = False
        self._fallback: str | None = None  # the name of the route that was tried last, if not the first one
        self.exchange: Exchange | None = None
        self._in_progress = metrics.request_started(route)

    def first_byte_sent(self) -> None:
        """Note that the first output is sent to the client."""
        if self._first is None:
            self._first = time.perf_counter() - self._started

    def fall_back(self, error: BridgeError, fallback: str) -> None:
        """Note that a route has failed, and that its fallback is tried."""
        failed = self._fallback or self._route
        if isinstance(error, UpstreamError):
            self._metrics.upstream_failed(failed, error.kind)
        self._metrics.fell_back(failed, fallback)
        self._fallback = fallback

    def finish(self, error: BridgeError | None, status: int) -> None:
        """Record a complete response."""
        if self._finished:
            return
        if error is None:
            self._record(status, "", None)
            return
        error_type = str(error.status)
        if isinstance(error, UpstreamError):
            error_type = str(error.kind)
            self._metrics.upstream_failed(self._fallback or self._route, error_type)
        self._record(status, error_type, error)

    def client_disconnected(self) -> None:
        """Record that the client disconnected before the response was complete."""
        if not self._finished:
            self._metrics.client_disconnected(self._route)
            self._record(_DISCONNECTED, "client_disconnect", None)

    def release(self) -> None:
        """Count the request as no longer in progress."""
        self._metrics.request_ended(self._in_progress)

    def _record(self, status: int, error_type: str, error: BridgeError | None) -> None:
        self._finished = True
        duration = time.perf_counter() - self._started
        route, endpoint, model, client = self._route, self._endpoint, self._model, self._client
        self._metrics.response_finished(route, endpoint, model, status, error_type, duration)
        members: dict[str, Any] = {
            "id": self._id, "client": client.address, "route": route, "model": model,
            "endpoint": endpoint.name, "status": status, "stream": False, "ms": _milliseconds(duration),
        }  # fmt: skip
        if client.tenant is not None:
            self._record_key(client, status, members)
        if self.exchange is not None:
            self._record_exchange(self.exchange, error_type, duration, members)
        if self._fallback is not None:
            members["fallback"] = self._fallback
        if error_type:
            members["error"] = error_type
        level = logging.INFO
        if error is not None:
            level = _record_error(error, members)
        log_members("request", members, level)

    def _record_key(self, client: Client, status: int, members: dict[str, Any]) -> None:
        """Record the key of the client."""
        if client.key is not None:
            self._metrics.key_used(client.key, status)
            members["key"] = client.key

    def _charge(self, client: Client, usage: Usage) -> None:
        """Count the tokens of the response for the key of the client."""
        if client.key is not None:
            self._metrics.key_tokens_used(client.key, usage)
        if client.charge is not None:
            client.charge(max(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens))

    def _record_exchange(
        self, exchange: Exchange, error_type: str, duration: float, members: dict[str, Any]
    ) -> None:
        """Record what only the exchange holds: tokens, dropped parameters, and whether there is a stream."""
        first, usage = self._first if exchange.is_stream else None, exchange.usage
        members["stream"] = exchange.is_stream
        if first is not None:
            members["first_ms"] = _milliseconds(first)
        if first is not None or usage is not None:
            self._metrics.output_finished(
                self._route, self._endpoint, self._model, error_type, duration, first, usage
            )
        if usage is not None:
            if self._client.tenant is not None:
                self._charge(self._client, usage)
            members["prompt_tokens"] = usage.prompt_tokens
            members["completion_tokens"] = usage.completion_tokens
            if usage.estimated:
                members["estimated"] = True
        if exchange.retries:
            members["retries"] = exchange.retries
        if exchange.dropped:
            self._metrics.parameters_dropped(self._route, exchange.dropped)
            members["dropped"] = len(exchange.dropped)


def _record_error(error: BridgeError, members: dict[str, Any]) -> int:
    """Add what explains an error to the members of a line. Return the level of the line."""
    if error.code is not None:
        members["code"] = error.code
    if (
        isinstance(error, UpstreamError) or error.status >= 500
    ):  # a client's error may quote the client's body
        members["reason"] = error.reason
    if error.upstream:
        members["upstream"] = error.upstream
    return logging.WARNING if error.status >= 500 else logging.INFO


def _milliseconds(seconds: float) -> float:
    return round(seconds * 10_000) / 10
