"""What chunks and completions have in common, read from servers that nearly speak OpenAI's language."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import as_finish_reason
from bridge.openai.encoders import text_finish_reason

if TYPE_CHECKING:
    from bridge.core.deltas import Usage
    from bridge.core.json import JSONObject
    from bridge.openai.encoders import CompletionInfo

__all__ = [
    "choice_text",
    "coerce_text_fields",
    "dicts_in",
    "json_equal",
    "normalize_finish_reason",
    "normalize_usage",
    "omit",
    "with_upstream_identity",
]  # fmt: skip

_TEXTS = ("content", "reasoning_content", "reasoning")


def with_upstream_identity(head: CompletionInfo, body: JSONObject) -> CompletionInfo:
    """What a reply is called by its server, where that says something usable."""
    return replace(
        head,
        id=_text(body.get("id")) or head.id,
        created=_integer(body.get("created")) or head.created,
        model=_text(body.get("model")) or head.model,
    )


def normalize_finish_reason(value: Any, *, legacy: bool = False) -> str | None:
    """A reason of OpenAI's vocabulary, None while the answer goes on."""
    if value in (None, "", "null", "None") or value is False:
        return None
    word = as_finish_reason(value)
    return text_finish_reason(word) if legacy else word


def normalize_usage(told: Any, usage: Usage) -> JSONObject:
    """Token counts as they were told, with those that were understood."""
    mended: JSONObject = _integers(told) if isinstance(told, dict) else {}
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    mended |= {name: getattr(usage, name) for name in counts}
    return mended | ({"estimated": True} if usage.estimated else {})


def choice_text(choice: JSONObject) -> str | None:
    """The text of a legacy completion's choice, or of a chat's in its place."""
    for said in (choice, choice.get("delta"), choice.get("message")):
        if isinstance(said, dict):
            for name in ("text", "content"):
                if isinstance(said.get(name), str):
                    return str(said[name])
    return None


def coerce_text_fields(said: JSONObject) -> JSONObject:
    """A delta or message whose texts are texts; the same object where they were."""
    for name in _TEXTS:
        if not isinstance(said.get(name), str | None):
            said = {**said, name: _as_text(said[name])}
    return said


def dicts_in(value: Any) -> list[JSONObject]:
    """The objects of a list, or the one in its place."""
    return list(json.objects(value if isinstance(value, list) else [value]))


def omit(body: JSONObject, *names: str) -> JSONObject:
    """A copy that lacks some members."""
    return {name: value for name, value in body.items() if name not in names}


def json_equal(one: Any, other: Any) -> bool:
    """Equal JSON, and of equal types: 1 is not 1.0 here."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if type(one) is dict:
        if one.keys() != other.keys():
            return False
        for name, value in one.items():  # a loop: what was not mended is the same object, as a rule
            if value is not other[name] and not json_equal(value, other[name]):
                return False
        return True
    if type(one) is list:
        return len(one) == len(other) and all(map(json_equal, one, other))
    return bool(one == other)


def _as_text(value: Any) -> str:
    """What stands where a text should: parts, as Mistral's models have them when they think, or else."""
    if isinstance(value, list):
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return json.dumps(value).decode()


def _integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _integers(one) for name, one in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _integer(value: Any) -> int:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**53
    return int(value) if good else 0
