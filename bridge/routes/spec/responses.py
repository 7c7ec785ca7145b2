"""The keys of responses: `response`, `stream` and `error`."""

from __future__ import annotations

from typing import Any

from bridge.config.container_types import AnyOf
from bridge.config.quantities import DURATION
from bridge.config.records import Record, Shorthand, option, record
from bridge.config.secrets import EXTERNAL
from bridge.config.value_types import TEXT, Keyword
from bridge.framing import FRAMINGS, INNER_FRAMINGS
from bridge.routes.rules.settings import ABSENT
from bridge.routes.rules.transport import METHOD, URL
from bridge.routes.spec.requests import RequestSpec
from bridge.routes.spec.value_types import (
    CHOICES,
    CONDITION,
    DONE,
    FINISH,
    HEADERS,
    IMAGES,
    QUERY,
    SLOT,
    STATUS,
    TEXT_SLOT,
    TOOL_CALLS,
    USAGE_PART,
    WORD,
    Nullable,
)  # fmt: skip

__all__ = ["RESPONSE", "STREAM", "ErrorSpec", "ResponseSpec", "SlotsSpec", "StreamSpec", "UsageSpec"]


@record
class UsageSpec:
    """The slots of token counts."""

    prompt_tokens: Any = option(USAGE_PART, "tokens of the prompt", default=None)
    completion_tokens: Any = option(USAGE_PART, "tokens of the completion", default=None)
    total_tokens: Any = option(USAGE_PART, "all tokens; if absent: the sum of both", default=None)
    cached_tokens: Any = option(USAGE_PART, "tokens of the prompt that were read from a cache", default=None)
    reasoning_tokens: Any = option(USAGE_PART, "tokens of the completion that were reasoning", default=None)


@record
class SlotsSpec:
    """The slots of a response or a frame."""

    text: Any = option(Nullable(TEXT_SLOT), "the completion's text", default=ABSENT)
    reasoning: Any = option(Nullable(TEXT_SLOT), "the model's reasoning", default=ABSENT)
    role: Any = option(Nullable(SLOT), "the role of the message; if absent: `assistant`", default=ABSENT)
    finish_reason: Any = option(Nullable(FINISH), "why the response ended", default=ABSENT)
    tool_calls: Any = option(
        Nullable(TOOL_CALLS),
        "tool calls in OpenAI's format or as {name, arguments}; or slots of a call: "
        "{each, id, index, name, arguments}",
        default=ABSENT,
    )
    usage: Any = option(Nullable(Record(UsageSpec)), "token counts", default=ABSENT)
    id: Any = option(Nullable(SLOT), "the completion's id; if absent: the bridge makes one", default=ABSENT)
    logprobs: Any = option(Nullable(SLOT), "log probabilities in OpenAI's format", default=ABSENT)
    inside: Any = option(
        Nullable(SLOT),
        "the value that all other slots read; a string there is parsed as JSON",
        default=ABSENT,
    )
    choices: Any = option(
        Nullable(CHOICES),
        "the list of choices; the other slots are then read with `$item`",
        default=ABSENT,
    )


@record
class ResponseSpec(SlotsSpec):
    """The slots of a non-streaming response."""

    embeddings: Any = option(
        Nullable(SLOT),
        "one vector or a list of vectors: numbers, JSON or base64, bare or in OpenAI's format",
        default=ABSENT,
    )
    images: Any = option(
        Nullable(IMAGES),
        "the list of images, whose slots are then read with `$item`; `body`: the body is the image",
        default=ABSENT,
    )
    url: Any = option(
        Nullable(SLOT),
        "an image's URL; without `url` and `b64_json`, the form of the item decides",
        default=ABSENT,
    )
    b64_json: Any = option(Nullable(SLOT), "an image's bytes in base64", default=ABSENT)
    revised_prompt: Any = option(
        Nullable(SLOT), "the prompt from which the upstream made the image", default=ABSENT
    )
    rerank: Any = option(
        Nullable(CHOICES),
        "the list of ranked documents, whose slots are then read with `$item`",
        default=ABSENT,
    )
    index: Any = option(
        Nullable(SLOT),
        "the place of a ranked document in the request, from 0; by default `$item.index`",
        default=ABSENT,
    )
    score: Any = option(
        Nullable(SLOT),
        "a ranked document's score; by default `$item.relevance_score`, `$item.score` or the item itself",
        default=ABSENT,
    )
    document: Any = option(
        Nullable(SLOT), "a ranked document's text; by default the client's own", default=ABSENT
    )


@record
class StreamSpec(SlotsSpec):
    """The request, framing and reading of a stream."""

    framing: str = option(Keyword(FRAMINGS), "how the bytes are cut into frames", default="sse")
    inner: str = option(
        Keyword(INNER_FRAMINGS), "what the messages of a websocket or an event stream contain", default="json"
    )
    url: str | None = option(URL, "the URL when streaming", default=None)
    path: str | None = option(TEXT, "the path when streaming", default=None)
    method: str | None = option(METHOD, "the HTTP method when streaming", default=None)
    headers: dict[str, Any] = option(HEADERS, "headers added when streaming", default=None, secret=EXTERNAL)
    query: dict[str, Any] = option(
        QUERY, "query parameters added when streaming", default=None, secret=EXTERNAL
    )
    request: RequestSpec | None = option(
        Record(RequestSpec), "what differs in the body when streaming", default=None
    )
    mode: str = option(
        Keyword(("delta", "cumulative")),
        "whether each frame adds text, or repeats all text so far",
        default="delta",
    )
    data: str = option(
        Keyword(("json", "text", "raw")),
        "the data of an SSE event or a websocket message; `raw`: text, with the space after `data:`",
        default="json",
    )
    only: Any = option(CONDITION, "the frames to read; all others are ignored", default=None)
    skip: Any = option(CONDITION, "the frames to ignore", default=None)
    done: Any = option(
        DONE, "the frame that ends the stream; if absent: [DONE], or the end of the body", default=None
    )
    replace: Any = option(SLOT, "a text that replaces the text so far; the stream ends there", default=None)
    keepalive: float | str = option(
        AnyOf(DURATION, Keyword(("pass", "off")), expected="a duration, such as 15s, or pass, or off"),
        "the longest time without bytes for the client, after which a comment is sent; `pass`: a comment is "
        "sent whenever the upstream sends one",
        default="off",
    )


@record
class ErrorSpec:
    """One way in which the upstream reports failure."""

    when: Any = option(
        CONDITION,
        "a condition that makes a body or frame an error; if absent: a status outside 2xx",
        default=None,
    )
    message: Any = option(SLOT, "the error message", default=None)
    type: Any = option(WORD, "OpenAI's `type`", default=None)
    code: Any = option(WORD, "OpenAI's `code`", default=None)
    status: Any = option(STATUS, "the HTTP status for the client", default=None)
    retry_after: Any = option(SLOT, "the seconds until a retry makes sense", default=None)


_PATH_OR_SLOTS = "a path, such as $.answer, or a mapping of slots"
RESPONSE = Shorthand(Record(ResponseSpec), "text", TEXT_SLOT, _PATH_OR_SLOTS)
STREAM = Shorthand(Record(StreamSpec), "text", TEXT_SLOT, _PATH_OR_SLOTS)
