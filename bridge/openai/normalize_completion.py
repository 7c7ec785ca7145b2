"""Normalization of non-streaming completions from nearly OpenAI-compatible upstreams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import Usage
from bridge.core.finish_reasons import FAILED
from bridge.core.messages import choice_index
from bridge.openai.normalize import (
    choice_text,
    coerce_text_fields,
    dicts_in,
    keep_items,
    normalize_finish_reason,
    normalize_usage,
    omit,
    upstream_identity,
    with_members,
)
from bridge.openai.tool_call_shapes import normalize_tool_call

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.openai.response_encoder import ResponseInfo

__all__ = ["normalize_completion"]

_CONTENT_ALTERNATIVES = ("tool_calls", "function_call", "refusal", "audio")


def normalize_completion(body: JSONObject, info: ResponseInfo, usage: Usage | None) -> JSONObject:
    """Return a body with `choices` as clients expect it: the same object if nothing has to change.

    `info` fills in what the body lacks. `usage` holds the token counts that were read from the body.
    """
    identity = upstream_identity(info, body)
    if body.get("object") != info.endpoint.object:
        body = {**body, "object": info.endpoint.object}
    members: JSONObject = {
        "id": identity.id,
        "created": identity.created,
        "model": identity.model,
        "choices": _choices(body["choices"], info),
    }
    # Clients add the counts of every completion.
    members["usage"] = normalize_usage(body.get("usage"), usage or Usage())
    # An `error` that got this far is null or empty, but some clients only check that it is there.
    normalized = with_members(omit(body, "error"), members)
    if normalized is body or not info.endpoint.has_messages:
        return normalized
    return {**normalized, "choices": [_complete(choice) for choice in normalized["choices"]]}


def _complete(choice: JSONObject) -> JSONObject:
    """Return a choice with every key that OpenAI's schema requires; only of a body that changes anyway."""
    message = choice["message"]
    if "refusal" not in message:
        message = {**message, "refusal": None}
    return {**choice, "message": message, "logprobs": choice.get("logprobs")}


def _choices(sent: Any, info: ResponseInfo) -> Any:
    choices = [_choice(number, choice, info) for number, choice in enumerate(dicts_in(sent))]
    if sorted([choice["index"] for choice in choices]) != list(range(len(choices))):
        choices = [{**choice, "index": number} for number, choice in enumerate(choices)]
    return keep_items(choices, sent)


def _choice(number: int, choice: JSONObject, info: ResponseInfo) -> JSONObject:
    is_chat = info.endpoint.has_messages
    finish = normalize_finish_reason(choice.get("finish_reason"), legacy=not is_chat)
    if finish == FAILED:  # only beside choices that did not fail
        finish = "stop"
    members: JSONObject = {"index": choice_index(choice, number)}
    if is_chat:
        members["message"] = message = _message(choice)
        members["finish_reason"] = finish or ("tool_calls" if message.get("tool_calls") else "stop")
        return with_members(choice if "message" in choice else omit(choice, "text"), members)
    members["text"] = choice_text(choice) or ""
    members["finish_reason"] = finish or "stop"
    members["logprobs"] = choice.get("logprobs")
    return with_members(omit(choice, "message"), members)


def _message(choice: JSONObject) -> JSONObject:
    message = choice.get("message")
    if type(message) is not dict:
        return {"role": "assistant", "content": choice_text(choice) or "", "refusal": None}
    if message.get("role") != "assistant":
        message = {**message, "role": "assistant"}
    message = coerce_text_fields(message)
    if message.get("tool_calls") is not None:
        sent = message["tool_calls"]
        calls = [normalize_tool_call(number, call) for number, call in enumerate(dicts_in(sent))]
        message = with_members(message, {"tool_calls": keep_items(calls, sent)})
    if message.get("content") is None:
        is_empty = not any(message.get(name) for name in _CONTENT_ALTERNATIVES)
        message = with_members(message, {"content": "" if is_empty else None})
    return message
