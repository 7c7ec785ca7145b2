"""Deltas: the parts of a response, between the upstream's format and OpenAI's.

    upstream bytes ─▶ frames ─▶ Delta, Delta, … ─▶ chunks, or one completion

A non-streaming response is a stream of one frame, so it becomes deltas too. Decoders only produce deltas and
encoders only consume them, so that each framing and each mapping works with each endpoint.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.core.json import JSONObject

__all__ = [
    "MISSING",
    "Delta",
    "Embedding",
    "Image",
    "RankedDocument",
    "Rest",
    "ToolCallFragment",
    "Usage",
    "add_usages",
]


class _Missing(Enum):
    MISSING = "nothing was found"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing.MISSING
"""The value of a path that finds nothing. A path that finds null has the value None."""


class Usage(NamedTuple):
    """Token counts under OpenAI's names."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False  # by the bridge, for an upstream that sends no counts
    sent: Mapping[str, Any] | None = (
        None  # OpenAI's object with the counts and further members, if one was sent
    )


class ToolCallFragment(NamedTuple):
    """A part of a tool call, read from an upstream's own format."""

    at: int | None = None  # the upstream's index of the call while calls stream; None of a complete call
    id: str = ""
    name: str | None = None  # begins a call, even if it is empty; None continues a call
    arguments: str = ""  # JSON text, or a part of it
    default_arguments: str = "{}"  # JSON text, for a call that ends without arguments
    ended: bool = False  # the last fragment of the call
    begins_message: bool = False  # no part of a call, but the beginning of the message with all calls
    more: Mapping[str, Any] = MappingProxyType({})  # further members of the call for the client


class Rest(NamedTuple):
    """Members of OpenAI's own format that no slot reads, such as annotations and the results of filters."""

    message: JSONObject  # of a message or delta
    choice: JSONObject
    body: JSONObject  # of a completion or chunk


class Delta(NamedTuple):
    """The part of one choice that a frame adds."""

    text: str = ""
    choice: int = 0  # index of the choice
    finish_reason: str | None = None
    reasoning: str = ""
    tool_calls: list[JSONObject] | None = None  # {index, id?, type?, function: {name?, arguments?}} each
    logprobs: Any = None
    replaces: bool = False  # the text replaces all earlier text, which a stream cannot do any more
    rest: Rest | None = None


class Embedding(NamedTuple):
    """An embedding."""

    numbers: list[float]  # finite
    choice: int = 0  # index of the client's input


class Image(NamedTuple):
    """A generated image, with a URL, base64, or both."""

    url: str | None = None
    b64_json: str | None = None
    revised_prompt: str | None = None
    choice: int = 0  # index of the image


class RankedDocument(NamedTuple):
    """A document of a request with its score."""

    place: int  # in the client's list of documents, from 0
    score: float  # finite; higher is better
    document: str | Mapping[str, Any] | None = None  # as the upstream sent it
    choice: int = 0


_COUNTS = 5  # the fields of `Usage` that are counts


def add_usages(counts: Sequence[Usage]) -> Usage:
    """Return the sum of one or more counts. A sum with an estimate is an estimate."""
    total, *others = counts
    for usage in others:
        # A detail that no upstream sends stays None.
        sums = map(_add, total[:_COUNTS], usage[:_COUNTS])
        total = Usage._make((*sums, total.estimated or usage.estimated, None))
    return total


def _add(left: Any, right: Any) -> Any:
    return left if right is None else right + (left or 0)
