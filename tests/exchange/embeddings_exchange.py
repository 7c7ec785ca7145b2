"""Embeddings by plain calls: a route's rules, the client's input, and the upstream responses."""

from __future__ import annotations

import json
from typing import Any

from bridge.core.errors import UpstreamError
from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import new_exchange, pieces_of

__all__ = [
    "BARE",
    "ONE",
    "OPENAI",
    "SERVES",
    "WHOLE",
    "Body",
    "embeddings_error",
    "embeddings_request",
    "embeddings_response",
    "vectors",
]

Body = dict[str, Any]

SERVES = "serves: embeddings\n"
BARE = SERVES + "request: {body: {texts: $.inputs}}\nresponse: {embeddings: $.vectors}\n"
WHOLE = SERVES + "request: {body: {texts: $.inputs}}\nresponse: {embeddings: $}\n"
ONE = SERVES + "request: {body: {text: $.prompt}}\nresponse: {embeddings: $.vector}\n"


def embeddings_request(**members: Any) -> Body:
    """Return a client's body: the input `hi`, updated with the members."""
    return {"model": "m", "input": "hi", **members}


def embeddings_response(rules: str, *responses: Any, **members: Any) -> Body:
    """Return the client's response; a single upstream response answers every call."""
    exchange = new_exchange(rules, embeddings_request(**members), endpoint="embeddings")
    calls = exchange.calls
    out = b""
    for call, response in zip(
        calls, responses * len(calls) if len(responses) == 1 else responses, strict=False
    ):
        exchange.start(call, 200, {})
        out += b"".join(exchange.feed(call, piece) for piece in pieces_of(response)) + exchange.close(call)
    assert exchange.error is None, exchange.error
    return dict(json.loads(out))


def vectors(rules: str, *responses: Any, **members: Any) -> list[Any]:
    """Return the embeddings, after asserting that their indexes are in order."""
    data = embeddings_response(rules, *responses, **members)["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    assert {item["object"] for item in data} == {"embedding"}
    return [item["embedding"] for item in data]


def embeddings_error(rules: str, response: Any, **members: Any) -> UpstreamError:
    """Return the error for an upstream response."""
    exchange = new_exchange(rules, embeddings_request(**members), endpoint="embeddings")
    assert simulate(exchange, pieces_of(response)) == b""
    assert isinstance(exchange.error, UpstreamError)
    return exchange.error


OPENAI = {
    "object": "list",
    "model": "m",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}
"""A conforming response."""
