"""Arbitrary responses: any bytes, split anywhere, give a valid completion or a documented error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.case_files import case_names, read_case
from tests.case_player import play
from tests.exchange.single_exchange import comparable
from tests.exchange.strategies import ROUTES, STATUSES, bodies, checked_outcome, cuts, requests
from tests.strict_client import read_completion, read_stream


def pieces_of(data: bytes, positions: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in zip([0, *positions], [*positions, len(data)], strict=True)]


@pytest.mark.parametrize("name", ROUTES)
@given(
    sent=requests(),
    data=bodies(),
    positions=cuts(),
    status=STATUSES,
    complete=st.sampled_from([True, True, False]),
)
def test_any_bytes_give_a_completion_or_an_error_for_every_split(
    name: str,
    sent: tuple[str, dict[str, Any]],
    data: bytes,
    positions: list[int],
    status: int,
    complete: bool,
) -> None:
    rules = ROUTES[name]
    whole = checked_outcome(rules, *sent, [data], status, complete)
    for pieces in (pieces_of(data, positions), [data[n : n + 1] for n in range(len(data))]):
        assert checked_outcome(rules, *sent, pieces, status, complete) == whole


GOOD = [name for name in case_names("chat", "completions") if read_case(*name).data]


@st.composite
def damaged_recordings(draw: st.DrawFn) -> tuple[tuple[str, str], bytes]:
    """Draw a recorded response with bytes dropped, doubled, swapped, changed or truncated."""
    name = draw(st.sampled_from(GOOD))
    data = read_case(*name).data
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        end = min(end, start + draw(st.sampled_from([1, 2, 8, 40])))
        match draw(st.sampled_from(["drop", "double", "swap", "truncate", "change"])):
            case "drop":
                data = data[:start] + data[end:]
            case "double":
                data = data[:end] + data[start:]
            case "swap":
                data = data[:start] + data[end:] + data[start:end]
            case "truncate":
                data = data[:start]
            case "change":
                data = data[:start] + draw(st.binary(min_size=1, max_size=2)) + data[start + 1 :]
    return name, data


@given(damaged=damaged_recordings(), positions=cuts())
def test_damaged_recordings_give_a_completion_or_an_error_for_every_split(
    damaged: tuple[tuple[str, str], bytes], positions: list[int]
) -> None:
    name, data = damaged
    case = read_case(*name)
    exchange = case.exchange()
    whole = play(exchange, case, [data])
    cut = play(case.exchange(), case, pieces_of(data, positions))
    assert (comparable(exchange, cut.out), *cut[1:]) == (comparable(exchange, whole.out), *whole[1:])
    if exchange.error is None:
        if case.is_stream:
            read_stream(whole.out, include_usage=case.include_usage)
        else:
            read_completion(whole.out)
    else:
        assert 400 <= exchange.error.status <= 599
        if whole.out:
            stream = read_stream(whole.out, include_usage=case.include_usage)
            assert stream.error == exchange.error.envelope["error"]
