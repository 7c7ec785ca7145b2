"""The limits of a client's key: rates of requests and tokens, and the number of requests at once."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.errors import RequestError
from bridge.core.rate_bucket import RateBucket
from bridge.proxy.concurrency import WorkerShare

if TYPE_CHECKING:
    from bridge.core.rate_bucket import Rate
    from bridge.routes.rules.server_settings import ClientKeySpec
    from bridge.server.shared_rates import SharedRates

__all__ = ["ClientKeyLimits", "WorkerLimits"]


class WorkerLimits(NamedTuple):
    """The division of the limits of keys among worker processes."""

    share: WorkerShare = WorkerShare()  # of this worker, in `concurrency`
    rates: SharedRates | None = None  # None: there are no other workers


class ClientKeyLimits:
    """The rates and the concurrency that the clients of one key have left."""

    __slots__ = ("_concurrency", "_in_progress", "_requests", "_tokens")

    def __init__(self, spec: ClientKeySpec, workers: WorkerLimits, previous: ClientKeyLimits | None) -> None:
        # A worker without a share could serve no request: a limit below the number of workers is exceeded.
        self._concurrency = spec.concurrency and max(1, workers.share.of(spec.concurrency))
        requests, tokens, self._in_progress = previous.state if previous else (None, None, [0])
        self._requests = _bucket(spec, spec.requests, "requests", workers.rates, requests)
        self._tokens = _bucket(spec, spec.tokens, "tokens", workers.rates, tokens)

    @property
    def state(self) -> tuple[RateBucket | None, RateBucket | None, list[int]]:
        """Return what outlives a reload: both buckets, and in a list the number of requests in progress."""
        return self._requests, self._tokens, self._in_progress

    @property
    def counts_tokens(self) -> bool:
        """Return whether the tokens of responses are charged."""
        return self._tokens is not None

    def enter(self) -> None:
        """Count a request. Raise RequestError (429) if a limit is reached."""
        now = time.monotonic()
        if self._concurrency is not None and self._in_progress[0] >= self._concurrency:
            raise _exceeded(f"{self._concurrency} requests at once", 1.0)
        for bucket, of in ((self._requests, "requests"), (self._tokens, "tokens")):
            if bucket is not None and (seconds := bucket.wait(now)):
                raise _exceeded(f"{bucket.rate.amount} {of} in {bucket.rate.seconds:g} s", seconds)
        if self._requests is not None:
            self._requests.charge(now)
        self._in_progress[0] += 1

    def leave(self) -> None:
        """Count a request as no longer in progress."""
        self._in_progress[0] -= 1

    def charge_tokens(self, tokens: int) -> None:
        """Count the tokens of a response."""
        if self._tokens is not None:
            self._tokens.charge(time.monotonic(), tokens)

    def headers(self) -> dict[str, str]:
        """Return the headers of a response that show what is left, as OpenAI sends them."""
        headers, now = {}, time.monotonic()
        for bucket, of in ((self._requests, "requests"), (self._tokens, "tokens")):
            if bucket is not None:
                headers[f"x-ratelimit-limit-{of}"] = str(bucket.rate.amount)
                headers[f"x-ratelimit-remaining-{of}"] = str(bucket.remaining(now))
                headers[f"x-ratelimit-reset-{of}"] = _duration(bucket.reset(now))
        return headers


def _bucket(
    spec: ClientKeySpec, rate: Rate | None, of: str, rates: SharedRates | None, previous: RateBucket | None
) -> RateBucket | None:
    """Return the bucket of a rate: the one from before a reload, if the rate did not change."""
    if rate is None:
        return None
    if previous is not None and previous.rate == rate:
        return previous
    at = None if rates is None else rates.find(spec.key, of, rate)
    return RateBucket(rate) if rates is None or at is None else RateBucket(rate, rates.cells, at)


def _exceeded(limit: str, seconds: float) -> RequestError:
    return RequestError(
        429,
        f"Rate limit reached: the key allows {limit}. Please try again in {_duration(seconds)}",
        code="rate_limit_exceeded",
        retry_after=str(math.ceil(seconds)),
    )


def _duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: 120ms, 1s, 6m0s."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
