"""Rules that completions and chunks of nearly OpenAI-compatible upstreams are normalized by.

Every function returns the object that it was given unless it has to change something, so that a caller finds
out by identity whether the upstream's own bytes can be forwarded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING, as_finish_reason
from bridge.openai.encoders import text_finish_reason
from bridge.openai.response_encoder import ResponseInfo

if TYPE_CHECKING:
    from bridge.core.deltas import Usage
    from bridge.core.json import JSONObject

__all__ = [
    "choice_text",
    "coerce_text_fields",
    "dicts_in",
    "keep_items",
    "normalize_finish_reason",
    "normalize_usage",
    "omit",
    "with_members",
    "with_upstream_identity",
]

_TEXTS = ("content", "reasoning_content", "reasoning")
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_SCALARS = (str, int, bool, type(None))
_MAX_TIMESTAMP = 2**53  # seconds of Unix time: every JSON parser reads smaller integers exactly


def with_members(body: JSONObject, members: JSONObject) -> JSONObject:
    """Return the object with these members: the same object if it has them already."""
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
    if type(old) is list and len(items) == len(old) and all(map(_is, items, old)):
        return old
    return items


def with_upstream_identity(info: ResponseInfo, body: JSONObject) -> ResponseInfo:
    """Return the info with the id, time and model of the upstream, if they are valid."""
    return ResponseInfo(
        info.endpoint,
        _text(body.get("id")) or info.id,
        _timestamp(body.get("created")) or info.created,
        _text(body.get("model")) or info.model,
        info.role,
        info.include_usage,
        info.request_body,
    )


def normalize_finish_reason(value: Any, *, legacy: bool = False) -> str | None:
    """Return a finish reason of OpenAI's vocabulary, None if the choice is not finished."""
    if value in (None, "", "null", "None") or value is False:
        return None
    word = as_finish_reason(value)
    return text_finish_reason(word) if legacy else word


def normalize_usage(sent: Any, usage: Usage) -> JSONObject:
    """Return the upstream's usage object with the counts that were read from it, all counts as integers."""
    counts = {name: getattr(usage, name) for name in _COUNTS}
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
    for name in _TEXTS:
        if not isinstance(message.get(name), str | None):
            message = {**message, name: _as_text(message[name])}
    return message


def dicts_in(value: Any) -> list[JSONObject]:
    """Return the objects of a list, or the one object that was sent in place of a list."""
    return list(json.objects(value if isinstance(value, list) else [value]))


def _as_text(value: Any) -> str:
    """Return text for a value in its place: that of content parts (Mistral's reasoning models), or JSON."""
    if isinstance(value, list):
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return json.dumps(value).decode()


def _integers(value: Any) -> Any:
    """Return a usage object without integers that were sent as floats, as 26.0."""
    if isinstance(value, dict):
        return with_members(value, {name: _integers(count) for name, count in value.items()})
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="replace").decode()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _timestamp(value: Any) -> int:
    valid = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MAX_TIMESTAMP
    return int(value) if valid else 0


def _is(item: Any, old: Any) -> bool:
    return item is old
