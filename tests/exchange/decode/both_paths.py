"""The outcome of a non-streaming response with and without the fast path."""

from __future__ import annotations

import json
from typing import Any

from bridge.core.errors import UpstreamError, UpstreamFailure
from tests.exchange.single_exchange import new_exchange, request

__all__ = ["outcome", "uses_fast_path"]


def outcome(
    rules: str, body: dict[str, Any], data: bytes, *, endpoint: str, fast: bool, **options: Any
) -> tuple[Any, ...]:
    """Return output, error, usage and dropped parameters of a response, with or without the fast path."""
    exchange = new_exchange(rules, body, endpoint=endpoint)
    if not fast:
        exchange._fast_path = None
    [call] = exchange.calls
    exchange.start(call, options.get("status", 200), {"x-id": "h", "x-text": "t"})
    out = b""
    for at in range(0, len(data), size := options.get("size", 2**20)):
        if exchange.finished(call):
            break
        out += exchange.feed(call, data[at : at + size])
    if options.get("cut"):
        out += exchange.connection_lost(call, UpstreamError(UpstreamFailure.DISCONNECT, "gone"))
    elif not exchange.finished(call):
        out += exchange.close(call)
    return out, str(exchange.error), exchange.usage, exchange.dropped, exchange.started


def uses_fast_path(rules: str, body: Any, **members: Any) -> bool:
    """Return whether the fast path converted a response to its end."""
    exchange = new_exchange(rules, request(**members))
    call = exchange.calls[0]
    exchange.start(call, 200, {})
    exchange.feed(call, json.dumps(body).encode())
    exchange.close(call)
    return exchange._fast_path is not None
