"""Rules that completions and chunks of nearly OpenAI-compatible upstreams are normalized by.

Every function returns the object that it was given unless it has to change something, so that a caller finds
out by identity whether the upstream's own bytes can be forwarded.
"""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.core.finish_reasons import read_finish_reason, text_finish_reason

if TYPE_CHECKING:
    from bridge.core.deltas import Usage
    from bridge.core.json import JSONObject
    from bridge.openai.response_encoder import ResponseInfo

__all__ = [
    "Identity",
    "choice_text",
    "coerce_text_fields",
    "dicts_in",
    "is_thinking",
    "keep_items",
    "normalize_finish_reason",
    "normalize_usage",
    "omit",
    "thinking_text",
    "upstream_identity",
    "with_members",
]

_TEXTS = ("content", "reasoning_content", "reasoning")
_THINKING = frozenset({"thinking", "reasoning"})  # types of content parts
_THINKING_TEXTS = ("thinking", "reasoning", "text", "content")
_TEXT_TYPES = frozenset({str, type(None)})
_NOT_IN_COUNTS = frozenset({float, dict})
_SCALARS = (str, int, bool, type(None))
_MAX_TIMESTAMP = 2**53  # seconds of Unix time: every JSON parser reads smaller integers exactly


class Identity(NamedTuple):
    """The members by which clients identify a response."""

    id: str
    created: int  # Unix time in seconds
    model: str


def with_members(body: JSONObject, members: JSONObject) -> JSONObject:
    """Return the object with these members: the same object if it has them already."""
    # Values that a normalizer did not change are the body's own objects, which C compares in a few steps.
    if members.keys() <= body.keys() and all(map(is_, map(body.__getitem__, members), members.values())):
        return body
    for name, value in members.items():
        old = body.get(name, MISSING)
        # Equality does not suffice: 1 == 1.0 == True, and lists and objects may hold such numbers.
        if old is not value and (type(old) is not type(value) or type(old) not in _SCALARS or old != value):
            return {**body, **members}
    return body


def omit(body: JSONObject, *names: str) -> JSONObject:
    """Return the object without these members: the same object if it has none of them."""
    if body.keys().isdisjoint(names):
        return body
    return {name: value for name, value in body.items() if name not in names}


def keep_items(items: list[Any], old: Any) -> Any:
    """Return the list `old` if it holds the same objects as `items`, else `items`."""
    if type(old) is list and len(items) == len(old) and all(map(is_, items, old)):
        return old
    return items


def upstream_identity(info: ResponseInfo, body: JSONObject) -> Identity:
    """Return the id, time and model of the upstream, those of the info in place of invalid values."""
    return Identity(
        _text(body.get("id")) or info.id,
        _timestamp(body.get("created")) or info.created,
        _text(body.get("model")) or info.model,
    )


def normalize_finish_reason(value: Any, *, legacy: bool = False) -> str | None:
    """Return a finish reason of OpenAI's vocabulary, or FAILED; None if the choice is not finished."""
    word = read_finish_reason(value)
    return text_finish_reason(word) if legacy and word is not None else word


def normalize_usage(sent: Any, usage: Usage) -> JSONObject:
    """Return the upstream's usage object with the counts that were read from it, all counts as integers."""
    counts: JSONObject = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.estimated:
        counts["estimated"] = True
    return with_members(_integers(sent), counts) if isinstance(sent, dict) else counts


def choice_text(choice: JSONObject) -> str | None:
    """Return the text of a legacy completion's choice, or of a chat's choice in its place."""
    for holder in (choice, choice.get("delta"), choice.get("message")):
        if isinstance(holder, dict):
            for name in ("text", "content"):
                if isinstance(holder.get(name), str):
                    return str(holder[name])
    return None


def coerce_text_fields(message: JSONObject) -> JSONObject:
    """Return a delta or message whose text members are strings or null."""
    if _TEXT_TYPES.issuperset(map(type, map(message.get, _TEXTS))):
        return message
    for name in _TEXTS:
        if not isinstance(message.get(name), str | None):
            message = {**message, **_reasoning(name, message), name: _as_text(message[name])}
    return message


def is_thinking(part: JSONObject) -> bool:
    """Return whether a content part is reasoning, not text."""
    return part.get("type") in _THINKING


def thinking_text(parts: list[Any]) -> str:
    """Return the reasoning among content parts: texts, or lists of parts with texts."""
    texts = []
    for part in parts:
        if isinstance(part, dict) and is_thinking(part):
            found = next((part[name] for name in _THINKING_TEXTS if part.get(name)), "")
            texts.append(found if isinstance(found, str) else _as_text(found))
    return "".join(texts)


def dicts_in(value: Any) -> list[JSONObject]:
    """Return the objects of a list, or the one object that was sent in place of a list."""
    return [item for item in (value if type(value) is list else [value]) if type(item) is dict]


def _as_text(value: Any) -> str:
    """Return text for a value in its place: that of content parts (Mistral's reasoning models), or JSON."""
    if isinstance(value, list):
        texts = [part.get("text") for part in value if isinstance(part, dict) and not is_thinking(part)]
        return "".join(text for text in texts if isinstance(text, str))
    return json.dumps(value).decode()


def _reasoning(name: str, message: JSONObject) -> JSONObject:
    """Return the reasoning among the parts of a content, unless the message has reasoning of its own."""
    parts = message[name]
    if name != "content" or not isinstance(parts, list) or any(message.get(each) for each in _TEXTS[1:]):
        return {}
    text = thinking_text(parts)
    return {"reasoning_content": text} if text else {}


def _integers(value: Any) -> Any:
    """Return a usage object without integers that were sent as floats, as 26.0."""
    if type(value) is dict:
        if _NOT_IN_COUNTS.isdisjoint(map(type, value.values())):
            return value
        return with_members(value, {name: _integers(count) for name, count in value.items()})
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: Any) -> str:
    if type(value) is str:
        return value if value.isascii() else value.encode(errors="replace").decode()
    return str(value) if type(value) is int else ""


def _timestamp(value: Any) -> int:
    return int(value) if type(value) in (int, float) and 0 < value < _MAX_TIMESTAMP else 0
