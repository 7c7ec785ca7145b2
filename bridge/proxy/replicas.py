"""The replicas of a route: which one gets the next request, and which ones are evicted (`upstream.evict`).

    in use ── `after` failures in a row ──▶ evicted for `for`
      ▲                                         │ the next request is a probe; meanwhile no other is sent
      ├─────────── the probe succeeds ──────────┤
      │                                         └─ the probe fails: evicted for `for` again
      └── a health check succeeds ── unhealthy ◀── a health check fails

If no replica is usable, requests are sent as if all were: an error of an upstream says more than an error of
the bridge. Without I/O and without a clock: times are arguments, in seconds of one clock.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from bridge.routes.rules.transport import EvictSpec

__all__ = ["Others", "Replica", "ReplicaSet"]


class Replica:
    """One server of a route.

    name: the label of metrics and logs.
    in_flight: the number of requests whose responses have not ended.
    healthy: whether health checks succeed; True without health checks.
    """

    __slots__ = (
        "check_failed", "credit", "evicted_until", "failures", "healthy", "in_flight", "name", "probing",
        "weight",
    )  # fmt: skip

    def __init__(self, name: str, weight: int) -> None:
        self.name = name
        self.weight = weight
        self.in_flight = 0
        self.healthy = True
        self.check_failed: bool | None = None  # whether the latest health check failed; None: there was none
        self.failures = 0  # in a row
        self.evicted_until: float | None = None  # seconds; None: not evicted
        self.probing = False  # whether a request is in flight that decides about the eviction
        self.credit = 0.0  # of smooth weighted turns

    @property
    def is_up(self) -> bool:
        """Return whether the replica is neither evicted nor unhealthy."""
        return self.healthy and self.evicted_until is None

    def is_usable(self, now: float) -> bool:
        """Return whether a request may be sent to the replica."""
        if self.evicted_until is None:
            return self.healthy
        return self.healthy and now >= self.evicted_until and not self.probing


class Others(Enum):
    """The best of the replicas that a request was not sent to."""

    NONE = auto()  # there are none
    EVICTED = auto()
    USABLE = auto()


class ReplicaSet:
    """The replicas of one route.

    changed: called with a replica that is evicted or restored, and the reason.
    """

    def __init__(
        self,
        replicas: Iterable[Replica],
        *,
        least_busy: bool,
        evict: EvictSpec | None,
        changed: Callable[[Replica, str], None],
    ) -> None:
        self.replicas = tuple(replicas)
        self._least_busy = least_busy
        self._evict = evict
        self._changed = changed

    def others(self, tried: Collection[int], now: float) -> Others:
        """Return what replicas there are besides the `tried` ones."""
        untried = [each for index, each in enumerate(self.replicas) if index not in tried]
        if not untried:
            return Others.NONE
        return Others.USABLE if any(each.is_usable(now) for each in untried) else Others.EVICTED

    def choose(self, tried: Collection[int], now: float, *, unreachable: bool = False) -> int:
        """Return the index of the replica for the next attempt, preferably none of the `tried` ones.

        An evicted replica is preferred to one that is tried already only if that one is `unreachable`. The
        request is counted as in flight until `end` is called.
        """
        indexes = range(len(self.replicas))
        usable = [index for index in indexes if self.replicas[index].is_usable(now)]
        untried = [index for index in indexes if index not in tried]
        candidates = (
            [index for index in usable if index not in tried]
            or (untried if unreachable or not usable else [])
            or usable
            or list(indexes)
        )
        return self.begin(self._next_in_turn(candidates))

    def begin(self, index: int) -> int:
        """Count a request to a replica as in flight, until `end` is called. Return the index."""
        replica = self.replicas[index]
        replica.in_flight += 1
        replica.probing = replica.evicted_until is not None
        return index

    def succeeded(self, index: int) -> None:
        """Note that a response has begun. A probe that succeeds ends an eviction."""
        replica = self.replicas[index]
        if replica.evicted_until is not None:
            replica.evicted_until = None
            replica.failures = 0
            self._changed(replica, "a request succeeded")

    def failed(self, index: int, now: float) -> None:
        """Note that a request failed: no response, an incomplete response, or a 5xx."""
        replica = self.replicas[index]
        replica.failures += 1
        if self._evict is None:
            return
        if replica.evicted_until is not None or replica.failures >= self._evict.after:
            was_up = replica.is_up
            replica.evicted_until = now + self._evict.duration
            if was_up:
                self._changed(replica, f"{replica.failures} requests in a row failed")

    def end(self, index: int, *, complete: bool = False) -> None:
        """Note that a request is over; `complete`: its response was received whole."""
        replica = self.replicas[index]
        replica.in_flight -= 1
        replica.probing = False
        if complete:
            replica.failures = 0

    def checked(self, index: int, fault: str | None) -> None:
        """Note the result of a health check: a fault, or None for a healthy replica.

        Two checks in a row must fail, since a single one may be lost on a busy server; the first of all
        decides alone.
        """
        replica = self.replicas[index]
        was_up, was_healthy = replica.is_up, replica.check_failed is False
        replica.healthy = fault is None or (was_healthy and replica.healthy)
        replica.check_failed = fault is not None
        if replica.is_up is not was_up:
            self._changed(replica, fault or "a health check succeeded")

    def _next_in_turn(self, candidates: list[int]) -> int:
        """Return the candidate whose turn it is.

        Turns are nginx's smooth weighted round-robin: a replica of weight 3 gets 3 of 4 requests beside one
        of weight 1, and not 3 of them in a row. With `least-busy`, turns decide between equally busy ones.
        """
        replicas = self.replicas
        if self._least_busy:
            load = [(replicas[index].in_flight + 1) / replicas[index].weight for index in candidates]
            least = min(load)
            candidates = [index for index, each in zip(candidates, load, strict=True) if each == least]
        chosen, most, total = candidates[0], -math.inf, 0
        for index in candidates:
            replica = replicas[index]
            replica.credit += replica.weight
            total += replica.weight
            if replica.credit > most:
                chosen, most = index, replica.credit
        replicas[chosen].credit -= total
        return chosen
