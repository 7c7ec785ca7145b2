"""Token counts of a response, gathered frame by frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING, Usage
from bridge.expressions.transforms import convert

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.json import JSONObject
    from bridge.expressions.extractors import Extractor
    from bridge.expressions.scope import Scope
    from bridge.routes.rules.response_rules import UsagePart

__all__ = ["UsageCounts", "openai_usage"]

_MAX_COUNT = 2**53  # a float, as metrics are, holds every smaller integer
_TOTALS = ("prompt_tokens", "completion_tokens", "total_tokens")


class UsageCounts:
    """The counts that were read so far, by the names of `Usage`."""

    __slots__ = (
        "_addends",  # the last count of each slot of a sum, by the name of the sum
        "_counts",
        "_sent",  # OpenAI's own object with the counts
    )

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._addends: dict[str, dict[int, int]] = {}
        self._sent: JSONObject | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._counts

    def read(self, parts: Iterable[tuple[str, UsagePart]], scope: Scope) -> None:
        """Read the counts of a frame or body."""
        for name, part in parts:
            if part.addends:
                self._read_sum(name, part.addends, scope)
            else:
                self.record(name, part.extractor.read(scope), add=part.sums)

    def record(self, name: str, value: Any, *, add: bool = False) -> None:
        """Record a count, which may be sent as text; other values are ignored. `add`: to earlier counts."""
        if value is not MISSING and (count := _as_count(value)) is not None:
            self._counts[name] = min(count + self._counts.get(name, 0) if add else count, _MAX_COUNT)

    def _read_sum(self, name: str, slots: Iterable[Extractor], scope: Scope) -> None:
        for number, slot in enumerate(slots):
            if (count := _as_count(slot.read(scope))) is not None:
                self._addends.setdefault(name, {})[number] = count
        if name in self._addends:
            self._counts[name] = min(sum(self._addends[name].values()), _MAX_COUNT)

    def read_sent(self, body: Any) -> None:
        """Keep the object with the counts of a body or chunk in OpenAI's format."""
        if isinstance(body, dict):
            choices = body.get("choices")
            first = choices[0] if isinstance(choices, list) and choices else None
            for holder in (body, first):
                if isinstance(holder, dict) and isinstance(sent := holder.get("usage"), dict) and sent:
                    self._sent = sent
                    return

    def usage(self) -> Usage | None:
        """Return the counts with those that follow from them; None without counts."""
        counts = self._counts
        if not counts:
            return None
        prompt, completion = counts.get("prompt_tokens", 0), counts.get("completion_tokens", 0)
        return Usage(
            prompt,
            completion,
            counts.get("total_tokens", prompt + completion),
            counts.get("cached_tokens"),
            counts.get("reasoning_tokens"),
            sent=self._sent,
        )


def _as_count(value: Any) -> int | None:
    """Return a count, which may be sent as text or in a list of one; None of any other value."""
    if type(value) is int:
        return value if value >= 0 else None
    if type(value) is list and len(value) == 1:
        return _as_count(value[0])
    if value is MISSING or isinstance(value, bool | list | dict):
        return None
    count = convert(value, "int")
    return None if count is MISSING or count < 0 else int(count)


def openai_usage(body: JSONObject) -> Usage | None:
    """Return the counts of a body whose `usage` has OpenAI's counts as integers; None of any other body.

    The rules of OpenAI's format read the same counts, in five times as many steps.
    """
    sent, choices = body.get("usage"), body["choices"]
    first = choices[0] if type(choices) is list else None
    if type(sent) is not dict or (type(first) is dict and "usage" in first):
        return None
    prompt, completion = sent.get("prompt_tokens_details"), sent.get("completion_tokens_details")
    cached = prompt.get("cached_tokens") if type(prompt) is dict else None
    reasoning = completion.get("reasoning_tokens") if type(completion) is dict else None
    totals: list[Any] = [*map(sent.get, _TOTALS)]
    counts = totals + [count for count in (cached, reasoning) if count is not None]
    if {*map(type, counts)} != {int} or min(counts) < 0 or max(counts) > _MAX_COUNT:
        return None
    prompt_tokens, completion_tokens, total_tokens = totals
    return Usage(prompt_tokens, completion_tokens, total_tokens, cached, reasoning, sent=sent)
