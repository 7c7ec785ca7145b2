"""The upstream calls of one exchange, each made when it is first used.

A request with many prompts has a call for each of them. Made at once, the calls would hold a document and a
body each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.exchange.callouts import Callouts
from bridge.exchange.upstream_call import UpstreamCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.exchange.split_calls import CallBuilders

__all__ = ["UpstreamCalls"]


class UpstreamCalls:
    """A sequence of calls, of which the first ones are made."""

    __slots__ = ("_builders", "_count", "made")

    def __init__(self, builders: CallBuilders) -> None:
        """Make the first call. Raises RequestError."""
        self._count = builders.number
        self._builders = builders.builders
        self.made: list[UpstreamCall] = []
        self._make()

    def __len__(self) -> int:
        """Return the number of calls, made or not."""
        return self._count

    def __getitem__(self, number: int) -> UpstreamCall:
        """Return a call, after making it and all calls before it. Raises RequestError, IndexError."""
        while len(self.made) <= number < self._count:
            self._make()
        return self.made[number]

    def __iter__(self) -> Iterator[UpstreamCall]:
        """Yield the calls. Raises RequestError."""
        return map(self.__getitem__, range(self._count))

    def _make(self) -> None:
        call = UpstreamCall(next(self._builders))
        if call.plan.has_callouts:
            call.callouts = Callouts(call)
        self.made.append(call)
