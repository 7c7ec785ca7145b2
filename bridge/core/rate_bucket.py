"""Rates, such as 60 requests a minute, and the buckets that hold what a client has left of a rate.

    bucket.wait(now) ─▶ 0.0            enough is left for one more
    bucket.charge(now, amount)         may overdraw the bucket: tokens are known only after the response
    bucket.remaining(now), bucket.reset(now)

A bucket begins full, and fills evenly: 60 a minute allow 60 at once, and then one each second. The state is
one number, the time at which the bucket is full again (the generic cell rate algorithm), so that buckets of
several processes can share the state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import MutableSequence

__all__ = ["Rate", "RateBucket"]

_ROUNDING = 1e-6  # a difference of times that is smaller is the rounding of floats


class Rate(NamedTuple):
    """An amount in a time."""

    amount: int
    seconds: float


class RateBucket:
    """The amount that is left of a rate. Times are in seconds of a clock that never goes back."""

    __slots__ = ("_at", "_cells", "rate")

    def __init__(
        self, rate: Rate, cells: MutableSequence[float] | memoryview[float] | None = None, at: int = 0
    ) -> None:
        """Make a bucket whose state is `cells[at]`; None: a state of its own."""
        self.rate = rate
        self._cells = [0.0] if cells is None else cells
        self._at = at

    @property
    def _full_at(self) -> float:
        """The time at which the bucket is full again."""
        return self._cells[self._at]

    def charge(self, now: float, amount: int = 1) -> None:
        """Take an amount out of the bucket, whether the bucket holds as much or not."""
        full_at = max(self._full_at, now) + amount * self.rate.seconds / self.rate.amount
        self._cells[self._at] = full_at

    def wait(self, now: float) -> float:
        """Return the seconds until the bucket holds 1, or 0.0."""
        seconds = self._full_at - now - self.rate.seconds + self.rate.seconds / self.rate.amount
        return seconds if seconds > _ROUNDING else 0.0

    def remaining(self, now: float) -> int:
        """Return what the bucket holds, at least 0."""
        missing = self.reset(now) * self.rate.amount / self.rate.seconds
        return max(0, int(self.rate.amount - missing + _ROUNDING))

    def reset(self, now: float) -> float:
        """Return the seconds until the bucket is full."""
        return max(0.0, self._full_at - now)
