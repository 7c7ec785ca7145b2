"""Finish reasons: the words of model servers, translated to OpenAI's by one table.

    "MAX_TOKENS", "max-tokens", "Length"  ─▶  "length"
    "eos", "end_turn"                     ─▶  "stop"
    "abort", "error"                      ─▶  FAILED

Words are compared without case, hyphens, underscores and spaces. A word that the table lacks becomes `stop`.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["EXPLAINS_NO_TEXT", "FAILED", "FINISH_REASONS", "read_finish_reason", "text_finish_reason"]

FINISH_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
"""The values of `finish_reason` that OpenAI documents."""

EXPLAINS_NO_TEXT: Final = FINISH_REASONS - {"stop"}
"""The finish reasons of a response that may lack text."""

FAILED: Final = "error"
"""In place of a finish reason by which a server reports that the response failed."""


def read_finish_reason(value: Any) -> str | None:
    """Return a finish reason of OpenAI's, or FAILED; None if the response is not finished."""
    if isinstance(value, str):
        if value in FINISH_REASONS:
            return value
        word = value.lower().translate(_SEPARATORS)
        return None if word in _NOT_FINISHED else _TABLE.get(word, "stop")
    return None if value is None or value is False else "stop"


def text_finish_reason(value: str) -> str:
    """Return the finish reason of a legacy completion, which has no tool calls."""
    return "stop" if value in ("tool_calls", "function_call") else value


def _table(**words: str) -> dict[str, str]:
    return {word: reason for reason, listed in words.items() for word in listed.split()}


_SEPARATORS = str.maketrans("", "", "-_ ")

_NOT_FINISHED = frozenset({"", "null", "none", "unspecified", "finishreasonunspecified"})

# Without `stop`, which is the reason of all other words: `eos`, `eostoken`, `endturn`, `stopsequence`, ….
_TABLE = _table(
    length=(
        "length maxlength maxtoken maxtokens maxnewtokens maxoutputtokens maxcompletiontokens modellength"
        " tokenlimit tokenlimitreached maxtokensreached lengthlimit limit truncated finishlength"
        " contextlength"
        " contextlengthexceeded contextwindowexceeded modelcontextwindowexceeded maxcontextlength"
    ),
    tool_calls="toolcall toolcalls tooluse tool tools functioncalls",
    function_call="functioncall",
    content_filter=(
        "contentfilter contentfiltered filter filtered safety safetyfilter sensitive recitation blocklist"
        " blocked block prohibitedcontent spii imagesafety imageprohibitedcontent imagerecitation modelarmor"
        " refusal refused guardrail guardrails guardrailintervened guardrailsintervened moderation moderated"
        " censored contentpolicy contentpolicyviolation policyviolation toxic"
    ),
    error="error errored fail failed failure abort aborted cancel cancelled canceled finishabort",
)
