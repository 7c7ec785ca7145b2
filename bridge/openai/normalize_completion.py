"""Mends whole answers of servers that nearly speak OpenAI's language; what is right stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.openai.endpoints import CHAT
from bridge.openai.normalize import (
    finish_word,
    identical,
    index_of,
    mend_usage,
    named,
    objects,
    said_text,
    with_texts,
    without,
)
from bridge.openai.tool_calls import whole_call

if TYPE_CHECKING:
    from bridge.core.deltas import Usage
    from bridge.openai.encoders import Head

__all__ = ["mend_completion"]

Body = dict[str, Any]


def mend_completion(body: Body, head: Head, usage: Usage | None) -> Body:
    """An answer that has choices, as clients expect it: the same object, or a mended copy.

    `head` says what the answer does not, `usage` are the counts that were understood of it.
    """
    head = named(head, body)
    mended = {
        **without(body, "error", "usage"),
        "id": head.id,
        "object": head.endpoint.object,
        "created": head.created,
        "model": head.model,
        "choices": _choices(body["choices"], head),
    }
    if usage is not None:
        mended["usage"] = mend_usage(body.get("usage"), usage)
    return body if identical(mended, body) else mended


def _choices(found: Any, head: Head) -> list[Body]:
    choices = [_choice(number, choice, head) for number, choice in enumerate(objects(found))]
    if sorted(choice["index"] for choice in choices) == list(range(len(choices))):
        return choices
    return [{**choice, "index": number} for number, choice in enumerate(choices)]


def _choice(number: int, choice: Body, head: Head) -> Body:
    mended = {**choice, "index": index_of(number, choice)}
    finish = finish_word(choice.get("finish_reason"), head.endpoint)
    if head.endpoint is CHAT:
        mended["message"] = message = _message(choice)
        mended["finish_reason"] = finish or ("tool_calls" if message.get("tool_calls") else "stop")
        return mended if "message" in choice else without(mended, "text")
    mended["text"] = said_text(choice) or ""
    mended["finish_reason"] = finish or "stop"
    mended.setdefault("logprobs", None)
    return without(mended, "message")


def _message(choice: Body) -> Body:
    message = choice.get("message")
    if not isinstance(message, dict):
        return {"role": "assistant", "content": said_text(choice) or "", "refusal": None}
    mended = with_texts({"role": "assistant", "content": None} | message | {"role": "assistant"})
    if mended.get("tool_calls") is not None:
        calls = objects(mended["tool_calls"])
        mended["tool_calls"] = [whole_call(number, call) for number, call in enumerate(calls)]
    if mended["content"] is None and not any(mended.get(name) for name in _INSTEAD_OF_TEXT):
        mended["content"] = ""
    return mended


_INSTEAD_OF_TEXT = ("tool_calls", "function_call", "refusal", "audio")
