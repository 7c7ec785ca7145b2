"""The decision whether a failed request is sent again, and when. Without I/O and without a clock.

    causes of the failure ─┐
    Retry-After ───────────┼─▶ Attempts.delay ─▶ seconds, or None: the failure is the client's
    attempts so far ───────┘

A request is sent again only for a cause that `retry.on` names. Where no byte of the request was sent (the
cause `connect`), another replica is tried without `retry` too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bridge.proxy.replicas import Others

if TYPE_CHECKING:
    from collections.abc import Collection

    from bridge.routes.rules.transport import TransportSpec

__all__ = ["Attempts", "RetryBudget", "status_causes"]

_BURST = 10.0  # retries that a route may make at once
_FIRST_WAIT = 0.25  # seconds until a server that is not ready is tried again; doubled each time …
_LONGEST_WAIT = 2.0  # … up to this
_MIN_RATE = 1.0  # retries for each second that a route may always make, so that rare requests are retried


class RetryBudget:
    """A bound on the retries of one route: a share of its recent requests.

    When a server is overloaded, most requests fail, and each retry adds to the load. With a bound, retries
    add a share to the load at most, instead of doubling or tripling the load.
    """

    __slots__ = ("_at", "_retries")

    def __init__(self) -> None:
        self._retries = _BURST  # that may be made now
        self._at = 0.0  # seconds, the time of the latest retry

    def add_request(self, share: float) -> None:
        """Count a request that may be retried."""
        self._retries = min(_BURST, self._retries + share)

    def take(self, now: float) -> bool:
        """Count a retry, and return whether the retry may be made."""
        self._retries = min(_BURST, self._retries + (now - self._at) * _MIN_RATE)
        self._at = now
        if self._retries < 1:
            return False
        self._retries -= 1
        return True


class Attempts:
    """The attempts of one request.

    transport: the rules of the route: `retry`, `wait`, and `timeouts.total`.
    started: when the request began, in seconds of the clock of `now`.
    """

    __slots__ = (
        "_budget", "_end", "_retries", "_rule", "_wait", "_wait_interval", "_wait_until",
    )  # fmt: skip

    def __init__(self, transport: TransportSpec, budget: RetryBudget, started: float) -> None:
        rule, wait, total = transport.retry, transport.wait, transport.timeouts.total
        if rule is not None:
            budget.add_request(rule.budget)
        self._rule = rule
        self._wait = wait
        self._budget = budget
        self._retries = 0  # made so far
        self._end = math.inf if total is None else started + total
        self._wait_until = started if wait is None else started + wait.duration
        self._wait_interval = _FIRST_WAIT

    def delay(
        self, causes: Collection[str], retry_after: float | None, now: float, others: Others = Others.NONE
    ) -> float | None:
        """Return the seconds until the next attempt; None if the attempt was the last one.

        `causes` are the causes of a failure, none for a success. `retry_after` is the delay in seconds that
        the server requests, which does not concern other replicas.
        """
        if others is not Others.NONE and "connect" in causes and now < self._end:
            return 0.0
        held = self._time_to_hold(causes, retry_after, now)
        if held is not None:
            return held
        rule = self._rule
        if rule is None or self._retries >= rule.attempts or not any(cause in rule.on for cause in causes):
            return None
        seconds: float = min(rule.backoff * 2**self._retries, max(rule.backoff, rule.max_wait))
        if retry_after is not None and others is not Others.USABLE:
            if retry_after > rule.max_wait:
                return None
            seconds = max(seconds, retry_after)
        if now + seconds >= self._end or not self._budget.take(now):
            return None
        self._retries += 1
        return seconds

    def _time_to_hold(self, causes: Collection[str], retry_after: float | None, now: float) -> float | None:
        """Return the seconds until a server that is not ready is tried again; None if it is not waited for.

        Such attempts are neither retries nor part of their budget: a server that loads does no work.
        """
        if self._wait is None or not any(cause in self._wait.on for cause in causes):
            return None
        seconds = max(self._wait_interval, retry_after or 0.0)
        if now + seconds >= min(self._wait_until, self._end):
            return None
        self._wait_interval = min(2 * self._wait_interval, _LONGEST_WAIT)
        return seconds


def status_causes(status: int) -> tuple[str, ...]:
    """Return the causes by which `retry.on` names the status of a response; none for a success."""
    if status < 400:
        return ()
    return (str(status), "5xx") if status >= 500 else (str(status),)
