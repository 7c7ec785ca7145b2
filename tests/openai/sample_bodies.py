"""Bodies and chunks in the shapes of OpenAI's API reference, and the bridge's output for upstream bodies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import new_exchange, request
from tests.strict_client import read_stream

if TYPE_CHECKING:
    from bridge.exchange.exchange import Exchange
    from tests.strict_client import CompletionStream

__all__ = [
    "DONE",
    "OPENAI",
    "TEXT",
    "USAGE",
    "WORDS",
    "assert_forwarded",
    "choice",
    "chunk",
    "completion",
    "event",
    "events",
    "forward",
    "normalize_stream",
    "standard_chunks",
    "text_chunk",
]  # fmt: skip

Body = dict[str, Any]

OPENAI = "serves: [chat, completions]"  # a route without any rules
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1763600000, "model": "demo"}
WORDS = ["Deep", " teal", ",", " mostly", "."]
TEXT = "Deep teal, mostly."
USAGE = {"prompt_tokens": 21, "completion_tokens": 5, "total_tokens": 26}
DONE = "data: [DONE]\n\n"


def event(value: Body) -> str:
    """Return an event in OpenAI's spelling."""
    return f"data: {json.dumps(value, separators=(',', ':'), ensure_ascii=False)}\n\n"


def events(*chunks: Body) -> str:
    """Return a stream of these chunks."""
    return "".join(map(event, chunks)) + DONE


def choice(delta: Body, finish: str | None = None, **more: Any) -> Body:
    """Return a choice of a chunk."""
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish} | more


def chunk(delta: Body | None = None, finish: str | None = None, **more: Any) -> Body:
    """Return a chunk of one choice with `more` members."""
    return {**HEAD, "choices": [choice(delta or {}, finish)]} | more


def text_chunk(text: str, finish: str | None = None, **more: Any) -> Body:
    """Return a chunk of a legacy completion."""
    head = {**HEAD, "id": "cmpl-1", "object": "text_completion"}
    return {
        **head,
        "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}],
    } | more


def standard_chunks(*, usage: bool = False) -> list[Body]:
    """Return the chunks of a complete stream."""
    more: Body = {"usage": None} if usage else {}
    chunks = [
        chunk({"role": "assistant", "content": "", "refusal": None}, **more),
        *(chunk({"content": word}, **more) for word in WORDS),
        chunk({}, "stop", **more),
    ]
    return [*chunks, {**HEAD, "choices": [], "usage": USAGE}] if usage else chunks


def completion(message: Body | None = None, **more: Any) -> Body:
    """Return a completion."""
    message_sent = {"role": "assistant", "content": TEXT, "refusal": None} if message is None else message
    return {
        **HEAD,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message_sent, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
        "service_tier": "default",
        "system_fingerprint": None,
    } | more


def forward(data: str | bytes, *, endpoint: str = "chat", rules: str = OPENAI, **members: Any) -> bytes:
    """Return the output for a successful response, the same for bytes that arrive one by one."""
    exchange, out = _simulated(data, endpoint, rules, members)
    assert exchange.error is None, exchange.error
    return out


def normalize_stream(
    data: str | bytes, *, endpoint: str = "chat", usage: bool = True, **members: Any
) -> CompletionStream:
    """Return the stream that a client gets of upstream events, up to [DONE] or an error."""
    options = {"stream_options": {"include_usage": True}} if usage else {}
    exchange, out = _simulated(data, endpoint, OPENAI, {"stream": True, **options, **members})
    assert exchange.error is None or exchange.started, exchange.error
    return read_stream(out, include_usage=usage)


def assert_forwarded(chunks: list[Body], *, endpoint: str = "chat", **members: Any) -> bytes:
    """Return the output for a stream of these chunks, and assert that the output equals the input.

    The input is JSON with spaces, so that a rewritten chunk would differ.
    """
    data = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks) + DONE
    out = forward(data, endpoint=endpoint, stream=True, **members)
    assert out == data.encode()
    return out


def _simulated(
    data: str | bytes, endpoint: str, rules: str, members: Body, **options: Any
) -> tuple[Exchange, bytes]:
    data = data.encode() if isinstance(data, str) else data
    body = request(endpoint, **members)
    exchange = new_exchange(rules, body, endpoint=endpoint)
    out = simulate(exchange, [data], **options)
    cut = new_exchange(rules, body, endpoint=endpoint)
    assert simulate(cut, [data[at : at + 1] for at in range(len(data))], **options) == out
    return exchange, out
