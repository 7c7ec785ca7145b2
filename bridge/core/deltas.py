"""The narrow waist: what one frame of an answer adds, whatever server and framing it came in.

    upstream bytes ─▶ frames ─▶ Delta, Delta, … ─▶ chunks, or one completion

A whole answer is a stream of one frame, so it is deltas too. Many framings and mappings meet here a few
kinds of reply, and neither side knows the other.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "FINISH_REASONS",
    "MISSING",
    "Delta",
    "Embedding",
    "Image",
    "ToolCallFragment",
    "Usage",
    "add_usages",
    "as_finish_reason",
]


class _Missing(Enum):
    MISSING = "nothing was found"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing.MISSING
"""What a path gives that finds nothing. Not null: null is something found."""

FINISH_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
"""OpenAI's vocabulary of `finish_reason`."""


def as_finish_reason(value: Any) -> str:
    """Return a word of OpenAI's vocabulary; any other word for an end is `stop`."""
    return value if isinstance(value, str) and value in FINISH_REASONS else "stop"


class Usage(NamedTuple):
    """Token counts of an answer, as OpenAI names them. `estimated`: nobody counted, the bridge reckoned."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False


class ToolCallFragment(NamedTuple):
    """A piece of a call of a tool, as a server's own format tells it.

    `at` is what the server tells its calls apart by while they stream; None of a call that is whole. A piece
    with a `name`, be it empty, begins a call; `arguments` are JSON as text, or the next of it, and
    `otherwise` what they are if none come. `ended`: nothing more comes of it. `more` goes to the client as it
    is.
    """

    at: int | None = None
    id: str = ""
    name: str | None = None
    arguments: str = ""
    default_arguments: str = "{}"
    ended: bool = False
    more: Mapping[str, Any] = MappingProxyType({})


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
    replaces: bool = False


class Embedding(NamedTuple):
    """An embedding: finite numbers. `choice`: which of the client's inputs it is of."""

    numbers: list[float]
    choice: int = 0


class Image(NamedTuple):
    """A generated image: where it is, or its bytes in base64, at least one of them."""

    url: str | None = None
    b64_json: str | None = None
    revised_prompt: str | None = None
    choice: int = 0


def add_usages(counts: Sequence[Usage]) -> Usage:
    """The sum of at least one; a detail that none tells stays untold, and an estimate stays one."""
    first, *others = counts
    for other in others:
        parts = [one if two is None else two + (one or 0) for one, two in zip(first, other, strict=True)]
        first = Usage._make(parts)._replace(estimated=first.estimated or other.estimated)
    return first
