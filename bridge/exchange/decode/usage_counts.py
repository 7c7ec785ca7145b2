"""Token counts of a response, gathered frame by frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING, Usage
from bridge.expressions.transforms import convert

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.expressions.scope import Scope
    from bridge.routes.rules.response_rules import UsagePart

__all__ = ["UsageCounts"]


class UsageCounts:
    """The counts that were read so far, by the names of `Usage`."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._counts

    def read(self, parts: Iterable[tuple[str, UsagePart]], scope: Scope) -> None:
        """Read the counts of a frame or body."""
        for name, part in parts:
            self.record(name, part.extractor.read(scope), add=part.sums)

    def record(self, name: str, value: Any, *, add: bool = False) -> None:
        """Record a count, which may be sent as text; other values are ignored. `add`: to earlier counts."""
        if value is MISSING or isinstance(value, bool):
            return
        count = value if type(value) is int else convert(value, "int")
        if count is not MISSING and count >= 0:
            self._counts[name] = count + (self._counts.get(name, 0) if add else 0)

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
        )
