"""The upstream calls of an exchange that takes several, each made when it is first used.

A request with many prompts has a call for each of them. Made at once, the calls would hold a document and a
body each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.exchange.callouts import Callouts
from bridge.exchange.upstream_call import UpstreamCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.exchange.request_builder import RequestBuilder

__all__ = ["UpstreamCalls", "make_call"]


class UpstreamCalls:
    """A sequence of calls, of which the first ones are made."""

    __slots__ = ("_builders", "_count", "made")

    def __init__(self, count: int, builders: Iterator[RequestBuilder]) -> None:
        """Make the first of `count` calls. Raises RequestError, as `builders` does."""
        self._count = count
        self._builders = builders
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
        self.made.append(make_call(next(self._builders)))


def make_call(builder: RequestBuilder) -> UpstreamCall:
    """Return the call of a builder, with its callouts."""
    call = UpstreamCall(builder)
    if call.plan.has_callouts:
        call.callouts = Callouts(call)
    return call
