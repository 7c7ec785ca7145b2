"""Estimated usage (`emulate.usage: estimate`): marked counts if the upstream sends none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import bytewise, ndjson, new_exchange, pieces_of, request, sse

Body = dict[str, Any]

ON = "emulate: {usage: estimate}\n"
TEMPLATE = ON + "request: {body: {p: $.prompt}}\nresponse: $.t\nstream: {framing: ndjson, text: $.t}\n"
FOUR = [{"role": "user", "content": "four"}]
PROMPT_TOKENS = 3 + 3 + 1  # start of the response, one message, one token of text


def usage(rules: str, upstream_body: Any, *, endpoint: str = "chat", **members: Any) -> Any:
    """Return the `usage` of the completion, or of the last chunk of the stream."""
    body = request(endpoint, **({"messages": FOUR} if endpoint == "chat" else {"prompt": "four"}))
    exchange = new_exchange(rules, {**body, **members}, endpoint=endpoint)
    out = simulate(exchange, pieces_of(upstream_body))
    assert exchange.error is None, exchange.error
    if not exchange.is_stream:
        return json.loads(out).get("usage")
    *_, last, done = out.split(b"\n\n")[:-1]
    assert done == b"data: [DONE]"
    chunk = json.loads(last.removeprefix(b"data: "))
    return chunk.get("usage")


def estimated_usage(prompt_tokens: int, completion_tokens: int) -> Body:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "estimated": True,
    }


STREAMED: Body = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("members", [{}, STREAMED])
def test_usage_is_estimated_with_and_without_streaming(members: Body) -> None:
    upstream_body = ndjson({"t": "five "}, {"t": "words"}) if members else {"t": "five words"}
    assert usage(TEMPLATE, upstream_body, **members) == estimated_usage(PROMPT_TOKENS, 3)
    assert usage(TEMPLATE, bytewise(pieces_of(upstream_body)), **members) == estimated_usage(PROMPT_TOKENS, 3)
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert usage(TEMPLATE.removeprefix(ON), upstream_body, **members) == (None if members else zero)


def test_a_stream_has_no_unrequested_usage() -> None:
    assert usage(TEMPLATE, ndjson({"t": "four"}), stream=True) is None


def test_usage_of_the_upstream_is_not_estimated() -> None:
    rules = TEMPLATE.replace("response: $.t", "response: {text: $.t, usage: {completion_tokens: $.n}}")
    assert usage(rules, {"t": "four", "n": 9}) == {
        "prompt_tokens": 0,
        "completion_tokens": 9,
        "total_tokens": 9,
    }
    assert usage(rules, {"t": "four"}) == estimated_usage(PROMPT_TOKENS, 1)


def test_text_after_a_stop_string_is_not_counted() -> None:
    assert usage(TEMPLATE, {"t": "fourENDand more"}, stop="END") == estimated_usage(PROMPT_TOKENS, 1)
    cut = ndjson({"t": "fourE"}, {"t": "NDand more"})
    assert usage(TEMPLATE, cut, stop="END", **STREAMED) == estimated_usage(PROMPT_TOKENS, 1)


def test_estimates_of_several_calls_are_summed() -> None:
    assert usage(TEMPLATE, {"t": "four"}, n=3) == estimated_usage(3 * PROMPT_TOKENS, 3)
    assert usage(
        TEMPLATE, {"t": "four"}, endpoint="completions", prompt=["four", "fours"]
    ) == estimated_usage(3, 2)


COMPLETION = {
    "id": "1",
    "object": "chat.completion",
    "created": 5,
    "model": "m",
    "provider": "x",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "five words"}, "finish_reason": "stop"}
    ],
}
CHUNKS = [
    {
        **COMPLETION,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
    }
    for delta in ({"role": "assistant", "content": "five "}, {"content": "words"})
]
UPSTREAM_USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def test_usage_is_estimated_for_passthrough() -> None:
    exchange = new_exchange(ON, request(messages=FOUR))
    out = json.loads(simulate(exchange, pieces_of(COMPLETION)))
    [choice] = out.pop("choices")
    assert choice["message"]["content"] == "five words"
    assert {name: out[name] for name in ("id", "created", "model", "provider")}.items() <= COMPLETION.items()
    assert out["usage"] == estimated_usage(PROMPT_TOKENS, 3)
    end = [*sse(*CHUNKS), b"data: [DONE]\n\n"]
    assert usage(ON, end, **STREAMED) == estimated_usage(PROMPT_TOKENS, 3)
    assert usage(ON, bytewise(end), **STREAMED) == estimated_usage(PROMPT_TOKENS, 3)


def test_passthrough_forwards_the_usage_of_the_upstream() -> None:
    data = json.dumps({**COMPLETION, "usage": UPSTREAM_USAGE}).encode()
    assert simulate(new_exchange(ON, request(messages=FOUR)), [data]) == data
    end = [*sse(*CHUNKS, {**CHUNKS[0], "choices": [], "usage": UPSTREAM_USAGE}), b"data: [DONE]\n\n"]
    assert usage(ON, end, **STREAMED) == UPSTREAM_USAGE


def test_usage_of_embeddings_is_estimated() -> None:
    rules = ON + "serves: embeddings\n"
    upstream_body = {"data": [{"embedding": [0.5]}]}
    counts = {"prompt_tokens": 1, "total_tokens": 1, "estimated": True}
    assert usage(rules, upstream_body, endpoint="embeddings", input="four") == counts
    many = rules.replace("estimate", "estimate, batch: 1")
    assert usage(many, upstream_body, endpoint="embeddings", input=["four", "fours"])["prompt_tokens"] == 3


def test_a_failed_response_has_no_usage() -> None:
    exchange = new_exchange(TEMPLATE, request(messages=FOUR))
    assert simulate(exchange, [b"nothing"], status=500) == b""
    assert exchange.usage is None
