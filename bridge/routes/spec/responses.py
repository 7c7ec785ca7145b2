"""How answers are read: whole, streamed, and when they failed."""

from __future__ import annotations

from typing import Any

from bridge.config.records import Record, Shorthand, option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import TEXT, Keyword
from bridge.framing import FRAMINGS, INNER_FRAMINGS
from bridge.routes.rules.settings import ABSENT, METHOD, URL
from bridge.routes.spec.requests import HEADERS, RequestSpec
from bridge.routes.spec.value_types import (
    CHOICES,
    CONDITION,
    DONE,
    FINISH,
    SLOT,
    TEXT_SLOT,
    USAGE_PART,
    WORD,
    Nullable,
)  # fmt: skip

__all__ = ["RESPONSE", "STREAM", "ErrorSpec", "ResponseSpec", "SlotsSpec", "StreamSpec", "UsageSpec"]


@record
class UsageSpec:
    prompt_tokens: Any = option(USAGE_PART, "tokens of the request", default=None)
    completion_tokens: Any = option(USAGE_PART, "tokens of the answer", default=None)
    total_tokens: Any = option(USAGE_PART, "both; else their sum", default=None)
    cached_tokens: Any = option(USAGE_PART, "tokens of the request found in a cache", default=None)
    reasoning_tokens: Any = option(USAGE_PART, "tokens of the answer that were thought only", default=None)


@record
class SlotsSpec:
    text: Any = option(Nullable(TEXT_SLOT), "what the model says", default=ABSENT)
    reasoning: Any = option(Nullable(TEXT_SLOT), "what it thinks before", default=ABSENT)
    role: Any = option(Nullable(SLOT), "who speaks; else `assistant`", default=ABSENT)
    finish_reason: Any = option(Nullable(FINISH), "why it ended", default=ABSENT)
    tool_calls: Any = option(Nullable(SLOT), "calls of tools, in OpenAI's shape", default=ABSENT)
    usage: Any = option(Nullable(Record(UsageSpec)), "token counts", default=ABSENT)
    id: Any = option(Nullable(SLOT), "the answer's id; else one is made", default=ABSENT)
    logprobs: Any = option(Nullable(SLOT), "log probabilities, in OpenAI's shape", default=ABSENT)
    choices: Any = option(
        Nullable(CHOICES), "the list of several answers, whose slots are read with `$item`", default=ABSENT
    )


@record
class ResponseSpec(SlotsSpec):
    embeddings: Any = option(
        Nullable(SLOT),
        "the vectors: one or a list of them, of numbers, JSON or base64, bare or as OpenAI has them",
        default=ABSENT,
    )
    images: Any = option(
        Nullable(CHOICES), "the list of generated images, whose parts are read with `$item`", default=ABSENT
    )
    url: Any = option(
        Nullable(SLOT),
        "an image's URL; without it and `b64_json` what the item itself looks like",
        default=ABSENT,
    )
    b64_json: Any = option(Nullable(SLOT), "an image's bytes in base64", default=ABSENT)
    revised_prompt: Any = option(Nullable(SLOT), "the prompt that an image was made of", default=ABSENT)


@record
class StreamSpec(SlotsSpec):
    framing: str = option(Keyword(FRAMINGS), "how the bytes are cut into frames", default="sse")
    inner: str = option(
        Keyword(INNER_FRAMINGS), "what the messages of a websocket or an event stream carry", default="json"
    )
    url: str | None = option(URL, "the URL when streaming", default=None)
    path: str | None = option(TEXT, "the path when streaming", default=None)
    method: str | None = option(METHOD, "the HTTP method when streaming", default=None)
    headers: dict[str, Any] = option(HEADERS, "headers added when streaming", default=None, secret=EXTERNAL)
    query: dict[str, Any] = option(
        HEADERS, "query parameters added when streaming", default=None, secret=EXTERNAL
    )
    request: RequestSpec | None = option(Record(RequestSpec), "the body when streaming", default=None)
    mode: str = option(
        Keyword(("delta", "cumulative")),
        "whether a frame adds to the text or repeats all of it",
        default="delta",
    )
    data: str = option(Keyword(("json", "text")), "what the data of an SSE event is", default="json")
    only: Any = option(CONDITION, "frames that count; the others are passed over", default=None)
    skip: Any = option(CONDITION, "frames to pass over", default=None)
    done: Any = option(DONE, "the frame that ends the stream; else the end of the body", default=None)
    replace: Any = option(SLOT, "text that supersedes what was said: the stream ends there", default=None)


@record
class ErrorSpec:
    when: Any = option(
        CONDITION, "a body or frame that is a failure; else a status that is none", default=None
    )
    message: Any = option(SLOT, "what went wrong", default=None)
    type: Any = option(WORD, "OpenAI's `type`", default=None)
    code: Any = option(WORD, "OpenAI's `code`", default=None)
    status: Any = option(WORD, "the HTTP status for the client", default=None)
    retry_after: Any = option(SLOT, "seconds until another try makes sense", default=None)


_A_TEXT = "a path, such as $.answer, or a mapping of slots"
RESPONSE = Shorthand(Record(ResponseSpec), "text", TEXT_SLOT, _A_TEXT)
STREAM = Shorthand(Record(StreamSpec), "text", TEXT_SLOT, _A_TEXT)
