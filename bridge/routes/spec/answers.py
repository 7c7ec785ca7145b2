"""How answers are read: whole, streamed, and when they failed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bridge.config.records import Record, key
from bridge.config.shapes import INVALID, TEXT, Choice, Shape
from bridge.framing import FRAMINGS, INNER
from bridge.routes.shapes import (
    CHOICES,
    CONDITION,
    DONE,
    FINISH,
    OFF_OR,
    SLOT,
    TEXT_SLOT,
    USAGE_PART,
    WORD,
)  # fmt: skip
from bridge.routes.spec.requests import ABSENT, HEADERS, RequestSpec
from bridge.routes.spec.transport import METHOD, URL

if TYPE_CHECKING:
    from bridge.config.nodes import Node
    from bridge.config.problems import Problems

__all__ = ["RESPONSE", "STREAM", "ErrorSpec", "ResponseSpec", "StreamSpec", "UsageSpec"]


@dataclass(frozen=True)
class UsageSpec:
    prompt_tokens: Any = key(USAGE_PART, "tokens of the request", default=None)
    completion_tokens: Any = key(USAGE_PART, "tokens of the answer", default=None)
    total_tokens: Any = key(USAGE_PART, "both; else their sum", default=None)
    cached_tokens: Any = key(USAGE_PART, "tokens of the request found in a cache", default=None)
    reasoning_tokens: Any = key(USAGE_PART, "tokens of the answer that were thought only", default=None)


@dataclass(frozen=True)
class ResponseSpec:
    text: Any = key(OFF_OR(TEXT_SLOT), "what the model says", default=ABSENT)
    reasoning: Any = key(OFF_OR(TEXT_SLOT), "what it thinks before", default=ABSENT)
    role: Any = key(OFF_OR(SLOT), "who speaks; else `assistant`", default=ABSENT)
    finish_reason: Any = key(OFF_OR(FINISH), "why it ended", default=ABSENT)
    tool_calls: Any = key(OFF_OR(SLOT), "calls of tools, in OpenAI's shape", default=ABSENT)
    usage: Any = key(OFF_OR(Record(UsageSpec)), "token counts", default=ABSENT)
    id: Any = key(OFF_OR(SLOT), "the answer's id; else one is made", default=ABSENT)
    logprobs: Any = key(OFF_OR(SLOT), "log probabilities, in OpenAI's shape", default=ABSENT)
    choices: Any = key(
        OFF_OR(CHOICES), "the list of several answers, whose slots are read with `$item`", default=ABSENT
    )


@dataclass(frozen=True)
class StreamSpec(ResponseSpec):
    framing: str = key(Choice(FRAMINGS), "how the bytes are cut into frames", default="sse")
    inner: str = key(
        Choice(INNER), "what the messages of a websocket or an event stream carry", default="json"
    )
    url: str | None = key(URL, "the URL when streaming", default=None)
    path: str | None = key(TEXT, "the path when streaming", default=None)
    method: str | None = key(METHOD, "the HTTP method when streaming", default=None)
    headers: dict[str, Any] = key(HEADERS, "headers added when streaming", default=None)
    query: dict[str, Any] = key(HEADERS, "query parameters added when streaming", default=None)
    request: RequestSpec | None = key(Record(RequestSpec), "the body when streaming", default=None)
    mode: str = key(
        Choice(("delta", "cumulative")),
        "whether a frame adds to the text or repeats all of it",
        default="delta",
    )
    data: str = key(Choice(("json", "text")), "what the data of an SSE event is", default="json")
    only: Any = key(CONDITION, "frames that count; the others are passed over", default=None)
    skip: Any = key(CONDITION, "frames to pass over", default=None)
    done: Any = key(DONE, "the frame that ends the stream; else the end of the body", default=None)
    replace: Any = key(SLOT, "text that supersedes what was said: the stream ends there", default=None)


@dataclass(frozen=True)
class ErrorSpec:
    when: Any = key(CONDITION, "a body or frame that is a failure; else a status that is none", default=None)
    message: Any = key(SLOT, "what went wrong", default=None)
    type: Any = key(WORD, "OpenAI's `type`", default=None)
    code: Any = key(WORD, "OpenAI's `code`", default=None)
    status: Any = key(WORD, "the HTTP status for the client", default=None)
    retry_after: Any = key(SLOT, "seconds until another try makes sense", default=None)


class _Short(Shape):
    """A path or a list of sources, short for a mapping with this `text`."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.expected = "a path, such as $.answer, or a mapping of slots"

    def takes(self, node: Node) -> bool:
        return isinstance(node.value, str | list | dict)

    def read(self, node: Node, problems: Problems) -> Any:
        if isinstance(node.value, dict):
            return self._record.read(node, problems)
        text = TEXT_SLOT.read(node, problems)
        return INVALID if text is INVALID else self._record.of(text=text)

    def respelled(self, node: Node) -> Node:
        return self._record.respelled(
            node if isinstance(node.value, dict) else replace(node, value={"text": node})
        )

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": ["string", "array"]}, self._record.schema()]}


RESPONSE = _Short(Record(ResponseSpec))
STREAM = _Short(Record(StreamSpec))
