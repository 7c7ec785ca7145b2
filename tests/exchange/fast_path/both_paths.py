"""The two ways of a whole answer: the short one, where it has one, and the long one."""

from __future__ import annotations

import json
from typing import Any

from bridge.core.errors import UpstreamError, UpstreamFailure
from tests.exchange.single_exchange import new_exchange, request

__all__ = ["outcome", "uses_fast_path"]


def outcome(
    rules: str, body: dict[str, Any], data: bytes, *, endpoint: str, short: bool, **options: Any
) -> tuple[Any, ...]:
    """What becomes of an answer: the client's bytes, failure and counts."""
    exchange = new_exchange(rules, body, endpoint=endpoint)
    if not short:
        exchange._completion_fast_path = None
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


def uses_fast_path(rules: str, answer: Any, **members: Any) -> bool:
    """Whether an answer went the short way to its end."""
    exchange = new_exchange(rules, request(**members))
    call = exchange.calls[0]
    exchange.start(call, 200, {})
    exchange.feed(call, json.dumps(answer).encode())
    exchange.close(call)
    return exchange._completion_fast_path is not None
