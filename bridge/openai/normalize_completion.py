"""Mends whole answers of servers that nearly speak OpenAI's language; what is right stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.messages import choice_index
from bridge.openai.normalize import (
    choice_text,
    coerce_text_fields,
    dicts_in,
    json_equal,
    normalize_finish_reason,
    normalize_usage,
    omit,
    with_upstream_identity,
)
from bridge.openai.tool_calls import normalize_tool_call

if TYPE_CHECKING:
    from bridge.core.deltas import Usage
    from bridge.core.json import JSONObject
    from bridge.openai.encoders import CompletionInfo

__all__ = ["normalize_completion"]


def normalize_completion(body: JSONObject, head: CompletionInfo, usage: Usage | None) -> JSONObject:
    """An answer that has choices, as clients expect it: the same object, or a mended copy.

    `head` says what the answer does not, `usage` are the counts that were understood of it.
    """
    head = with_upstream_identity(head, body)
    mended = {
        **omit(body, "error", "usage"),
        "id": head.id,
        "object": head.endpoint.object,
        "created": head.created,
        "model": head.model,
        "choices": _choices(body["choices"], head),
    }
    if usage is not None:
        mended["usage"] = normalize_usage(body.get("usage"), usage)
    return body if json_equal(mended, body) else mended


def _choices(found: Any, head: CompletionInfo) -> list[JSONObject]:
    choices = [_choice(number, choice, head) for number, choice in enumerate(dicts_in(found))]
    if sorted(choice["index"] for choice in choices) == list(range(len(choices))):
        return choices
    return [{**choice, "index": number} for number, choice in enumerate(choices)]


def _choice(number: int, choice: JSONObject, head: CompletionInfo) -> JSONObject:
    mended = {**choice, "index": choice_index(choice, number)}
    finish = normalize_finish_reason(choice.get("finish_reason"), legacy=not head.endpoint.has_messages)
    if head.endpoint.has_messages:
        mended["message"] = message = _message(choice)
        mended["finish_reason"] = finish or ("tool_calls" if message.get("tool_calls") else "stop")
        return mended if "message" in choice else omit(mended, "text")
    mended["text"] = choice_text(choice) or ""
    mended["finish_reason"] = finish or "stop"
    mended.setdefault("logprobs", None)
    return omit(mended, "message")


def _message(choice: JSONObject) -> JSONObject:
    message = choice.get("message")
    if not isinstance(message, dict):
        return {"role": "assistant", "content": choice_text(choice) or "", "refusal": None}
    mended = coerce_text_fields({"role": "assistant", "content": None} | message | {"role": "assistant"})
    if mended.get("tool_calls") is not None:
        calls = dicts_in(mended["tool_calls"])
        mended["tool_calls"] = [normalize_tool_call(number, call) for number, call in enumerate(calls)]
    if mended["content"] is None and not any(mended.get(name) for name in _INSTEAD_OF_TEXT):
        mended["content"] = ""
    return mended


_INSTEAD_OF_TEXT = ("tool_calls", "function_call", "refusal", "audio")
