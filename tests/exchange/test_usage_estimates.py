"""`emulate.usage: estimate`: counts where the server tells none, marked, and the same whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import bytewise, ndjson, new_exchange, pieces_of, request, sse

Body = dict[str, Any]

ON = "emulate: {usage: estimate}\n"
BUILT = ON + "request: {body: {p: $.prompt}}\nresponse: $.t\nstream: {framing: ndjson, text: $.t}\n"
FOUR = [{"role": "user", "content": "four"}]
ASKED = 3 + 3 + 1  # where an answer begins, a message, one token of text


def usage(rules: str, answer: Any, *, endpoint: str = "chat", **members: Any) -> Any:
    """The `usage` of the client's answer: of a whole one, or that of the last chunk."""
    body = request(endpoint, **({"messages": FOUR} if endpoint == "chat" else {"prompt": "four"}))
    exchange = new_exchange(rules, {**body, **members}, endpoint=endpoint)
    out = simulate(exchange, pieces_of(answer))
    assert exchange.error is None, exchange.error
    if not exchange.is_stream:
        return json.loads(out).get("usage")
    *_, last, done = out.split(b"\n\n")[:-1]
    assert done == b"data: [DONE]"
    chunk = json.loads(last.removeprefix(b"data: "))
    return chunk.get("usage")


def estimated(asked: int, said: int) -> Body:
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "estimated": True,
    }


STREAMED: Body = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("members", [{}, STREAMED])
def test_an_answer_is_estimated_whole_or_streamed(members: Body) -> None:
    answer = ndjson({"t": "five "}, {"t": "words"}) if members else {"t": "five words"}
    assert usage(BUILT, answer, **members) == estimated(ASKED, 3)
    assert usage(BUILT, bytewise(pieces_of(answer)), **members) == estimated(ASKED, 3)
    assert usage(BUILT.removeprefix(ON), answer, **members) is None


def test_a_stream_without_usage_asked_for_has_none() -> None:
    assert usage(BUILT, ndjson({"t": "four"}), stream=True) is None


def test_what_the_server_counts_is_not_estimated() -> None:
    rules = BUILT.replace("response: $.t", "response: {text: $.t, usage: {completion_tokens: $.n}}")
    assert usage(rules, {"t": "four", "n": 9}) == {
        "prompt_tokens": 0,
        "completion_tokens": 9,
        "total_tokens": 9,
    }
    assert usage(rules, {"t": "four"}) == estimated(ASKED, 1)


def test_only_what_is_said_counts() -> None:
    assert usage(BUILT, {"t": "fourENDand more"}, stop="END") == estimated(ASKED, 1)
    cut = ndjson({"t": "fourE"}, {"t": "NDand more"})
    assert usage(BUILT, cut, stop="END", **STREAMED) == estimated(ASKED, 1)


def test_several_calls_are_added_up() -> None:
    assert usage(BUILT, {"t": "four"}, n=3) == estimated(3 * ASKED, 3)
    assert usage(BUILT, {"t": "four"}, endpoint="completions", prompt=["four", "fours"]) == estimated(3, 2)


WHOLE = {
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
        **WHOLE,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
    }
    for delta in ({"role": "assistant", "content": "five "}, {"content": "words"})
]
TOLD = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def test_a_route_that_passes_on_is_counted_as_well() -> None:
    exchange = new_exchange(ON, request(messages=FOUR))
    out = json.loads(simulate(exchange, pieces_of(WHOLE)))
    assert out == {**WHOLE, "usage": estimated(ASKED, 3)}
    end = [*sse(*CHUNKS), b"data: [DONE]\n\n"]
    assert usage(ON, end, **STREAMED) == estimated(ASKED, 3)
    assert usage(ON, bytewise(end), **STREAMED) == estimated(ASKED, 3)


def test_a_route_that_passes_on_passes_true_counts_on() -> None:
    data = json.dumps({**WHOLE, "usage": TOLD}).encode()
    assert simulate(new_exchange(ON, request(messages=FOUR)), [data]) == data
    end = [*sse(*CHUNKS, {**CHUNKS[0], "choices": [], "usage": TOLD}), b"data: [DONE]\n\n"]
    assert usage(ON, end, **STREAMED) == TOLD


def test_embeddings_are_estimated_too() -> None:
    rules = ON + "serves: embeddings\n"
    answer = {"data": [{"embedding": [0.5]}]}
    counts = {"prompt_tokens": 1, "total_tokens": 1, "estimated": True}
    assert usage(rules, answer, endpoint="embeddings", input="four") == counts
    many = rules.replace("estimate", "estimate, batch: 1")
    assert usage(many, answer, endpoint="embeddings", input=["four", "fours"])["prompt_tokens"] == 3


def test_a_failure_has_no_counts() -> None:
    exchange = new_exchange(BUILT, request(messages=FOUR))
    assert simulate(exchange, [b"nothing"], status=500) == b""
    assert exchange.usage is None
