"""What a server says that speaks OpenAI's language: the shapes of its API reference, for tests to spoil."""

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
    """One event, written as OpenAI does."""
    return f"data: {json.dumps(value, separators=(',', ':'), ensure_ascii=False)}\n\n"


def events(*chunks: Body) -> str:
    """A stream of these chunks."""
    return "".join(map(event, chunks)) + DONE


def choice(delta: Body, finish: str | None = None, **more: Any) -> Body:
    """One choice of a chunk."""
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish} | more


def chunk(delta: Body | None = None, finish: str | None = None, **more: Any) -> Body:
    """A chunk of one choice; `more` are members beside it."""
    return {**HEAD, "choices": [choice(delta or {}, finish)]} | more


def text_chunk(text: str, finish: str | None = None, **more: Any) -> Body:
    """A chunk of a legacy completion."""
    head = {**HEAD, "id": "cmpl-1", "object": "text_completion"}
    return {
        **head,
        "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}],
    } | more


def standard_chunks(*, usage: bool = False) -> list[Body]:
    """The chunks of a whole stream."""
    more: Body = {"usage": None} if usage else {}
    chunks = [
        chunk({"role": "assistant", "content": "", "refusal": None}, **more),
        *(chunk({"content": word}, **more) for word in WORDS),
        chunk({}, "stop", **more),
    ]
    return [*chunks, {**HEAD, "choices": [], "usage": USAGE}] if usage else chunks


def completion(message: Body | None = None, **more: Any) -> Body:
    """A whole answer."""
    said = {"role": "assistant", "content": TEXT, "refusal": None} if message is None else message
    return {
        **HEAD,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
        "service_tier": "default",
        "system_fingerprint": None,
    } | more


def forward(data: str | bytes, *, endpoint: str = "chat", rules: str = OPENAI, **members: Any) -> bytes:
    """The bytes that a client gets of a good answer, which are the same when they come one by one."""
    exchange, out = _rehearsed(data, endpoint, rules, members)
    assert exchange.error is None, exchange.error
    return out


def normalize_stream(
    data: str | bytes, *, endpoint: str = "chat", usage: bool = True, **members: Any
) -> CompletionStream:
    """The stream that a client gets of a server's events, to its end, be it an error."""
    options = {"stream_options": {"include_usage": True}} if usage else {}
    exchange, out = _rehearsed(data, endpoint, OPENAI, {"stream": True, **options, **members})
    assert exchange.error is None or exchange.started, exchange.error
    return read_stream(out, include_usage=usage)


def assert_forwarded(chunks: list[Body], *, endpoint: str = "chat", **members: Any) -> bytes:
    """What becomes of a stream of these chunks, in spaced JSON, so that writing it anew would show."""
    data = "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + DONE
    out = forward(data, endpoint=endpoint, stream=True, **members)
    assert out == data.encode()
    return out


def _rehearsed(
    data: str | bytes, endpoint: str, rules: str, members: Body, **options: Any
) -> tuple[Exchange, bytes]:
    data = data.encode() if isinstance(data, str) else data
    body = request(endpoint, **members)
    exchange = new_exchange(rules, body, endpoint=endpoint)
    out = simulate(exchange, [data], **options)
    cut = new_exchange(rules, body, endpoint=endpoint)
    assert simulate(cut, [data[at : at + 1] for at in range(len(data))], **options) == out
    return exchange, out
