"""The narrow waist: what one frame of an answer adds, whatever server and framing it came in.

    upstream bytes ─▶ frames ─▶ Delta, Delta, … ─▶ chunks, or one completion

A whole answer is a stream of one frame, so it is deltas too. Many framings and mappings meet here a few
kinds of reply, and neither side knows the other.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FINISH_REASONS", "MISSING", "Delta", "Missing", "Usage", "add_usages"]


class _Missing(Enum):
    MISSING = "nothing was found"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "MISSING"


Missing = Literal[_Missing.MISSING]
MISSING: Final = _Missing.MISSING
"""What a path gives that finds nothing. Not null: null is something found."""

FINISH_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
"""OpenAI's vocabulary of `finish_reason`."""


class Usage(NamedTuple):
    """Token counts of an answer, as OpenAI names them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Delta(NamedTuple):
    """What one frame adds to one choice. An empty text and None mean: nothing of that.

    `tool_calls` are OpenAI's delta form: `{index, id?, type?, function: {name?, arguments?}}`.
    `instead`: the text takes the place of all that was said, which a stream can no longer do.
    """

    text: str = ""
    choice: int = 0
    finish_reason: str | None = None
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] | None = None
    logprobs: Any = None
    instead: bool = False


def add_usages(counts: Sequence[Usage]) -> Usage:
    """The sum of at least one; a detail that none tells stays untold."""
    first, *others = counts
    for other in others:
        parts = [one if two is None else two + (one or 0) for one, two in zip(first, other, strict=True)]
        first = Usage._make(parts)
    return first
