"""The bucket of a rate: bursts, even refilling, debts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.rate_bucket import Rate, RateBucket

NOW = 1_000_000.0  # seconds, as a machine that runs for days counts them


def bucket(amount: int = 60, seconds: float = 60.0) -> RateBucket:
    return RateBucket(Rate(amount, seconds))


def test_a_bucket_begins_full() -> None:
    assert (bucket().remaining(NOW), bucket().wait(NOW), bucket().reset(NOW)) == (60, 0.0, 0.0)


def test_a_full_bucket_allows_its_amount_at_once() -> None:
    full = bucket()
    for left in range(59, -1, -1):
        assert full.wait(NOW) == 0.0
        full.charge(NOW)
        assert full.remaining(NOW) == left
    assert full.wait(NOW) == pytest.approx(1.0)
    assert full.reset(NOW) == pytest.approx(60.0)


def test_an_empty_bucket_fills_evenly() -> None:
    empty = bucket()
    empty.charge(NOW, 60)
    assert empty.wait(NOW + 0.9) == pytest.approx(0.1)
    assert empty.wait(NOW + 1) == 0.0
    assert [empty.remaining(NOW + seconds) for seconds in (0, 0.99, 1, 30, 60, 6000)] == [0, 0, 1, 30, 60, 60]


def test_an_overdrawn_bucket_pays_its_debt_first() -> None:
    overdrawn = bucket()
    overdrawn.charge(NOW, 180)
    assert overdrawn.remaining(NOW) == 0
    assert overdrawn.wait(NOW) == pytest.approx(121.0)
    assert overdrawn.remaining(NOW + 150) == 30


@given(
    st.integers(1, 10**9),
    st.sampled_from([1.0, 60.0, 3600.0]),
    st.lists(st.floats(0, 3600), max_size=50),
)
def test_no_more_than_the_amount_and_what_fills_in_is_allowed(
    amount: int, seconds: float, pauses: list[float]
) -> None:
    """Whatever the pauses, the requests allowed are at most the amount plus what filled in meanwhile."""
    limited, now, allowed = bucket(amount, seconds), NOW, 0
    for pause in pauses:
        now += pause
        if limited.wait(now) == 0.0:
            limited.charge(now)
            allowed += 1
        assert 0 <= limited.remaining(now) <= amount
    assert allowed <= amount + (now - NOW) * amount / seconds + 1e-3
