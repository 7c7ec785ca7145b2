"""Embeddings on the bench: one route's rules, the input `hi` or another, and the server's answers."""

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
    """A client's body: the input `hi`, unless the members say otherwise."""
    return {"model": "m", "input": "hi", **members}


def embeddings_response(rules: str, *answers: Any, **members: Any) -> Body:
    """The client's answer; `answers` are those of the calls, the only one that of each."""
    exchange = new_exchange(rules, embeddings_request(**members), endpoint="embeddings")
    calls = exchange.calls
    out = b""
    for call, answer in zip(calls, answers * len(calls) if len(answers) == 1 else answers, strict=False):
        exchange.start(call, 200, {})
        out += b"".join(exchange.feed(call, piece) for piece in pieces_of(answer)) + exchange.close(call)
    assert exchange.error is None, exchange.error
    return dict(json.loads(out))


def vectors(rules: str, *answers: Any, **members: Any) -> list[Any]:
    """The embeddings alone, in the order of their indexes, which must be that of the list."""
    data = embeddings_response(rules, *answers, **members)["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    assert {item["object"] for item in data} == {"embedding"}
    return [item["embedding"] for item in data]


def embeddings_error(rules: str, answer: Any, **members: Any) -> UpstreamError:
    """The failure of the answer."""
    exchange = new_exchange(rules, embeddings_request(**members), endpoint="embeddings")
    assert simulate(exchange, pieces_of(answer)) == b""
    assert isinstance(exchange.error, UpstreamError)
    return exchange.error


OPENAI = {
    "object": "list",
    "model": "m",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}
"""An answer of OpenAI's own."""
