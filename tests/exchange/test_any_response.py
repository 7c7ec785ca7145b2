"""Whatever bytes a server sends, however the network cuts them: a good reply or a documented error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.case_files import NAMES, read_case
from tests.case_player import play
from tests.exchange.strategies import ROUTES, STATUSES, bodies, checked_outcome, cuts, requests
from tests.strict_client import read_completion, read_stream


def pieces_of(data: bytes, at: list[int]) -> list[bytes]:
    return [data[one:two] for one, two in zip([0, *at], [*at, len(data)], strict=True)]


@pytest.mark.parametrize("name", ROUTES)
@given(
    asked=requests(),
    data=bodies(),
    at=cuts(),
    status=STATUSES,
    complete=st.sampled_from([True, True, False]),
)
def test_any_bytes_are_a_reply_or_an_error_however_they_are_cut(
    name: str, asked: tuple[str, dict[str, Any]], data: bytes, at: list[int], status: int, complete: bool
) -> None:
    rules = ROUTES[name]
    whole = checked_outcome(rules, *asked, [data], status, complete)
    for pieces in (pieces_of(data, at), [data[n : n + 1] for n in range(len(data))]):
        assert checked_outcome(rules, *asked, pieces, status, complete) == whole


GOOD = [name for name in NAMES if read_case(*name).data]


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[tuple[str, str], bytes]:
    """A recorded answer with something dropped, doubled, swapped or cut off."""
    name = draw(st.sampled_from(GOOD))
    data = read_case(*name).data
    for _ in range(draw(st.integers(1, 3))):
        one, two = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        two = min(two, one + draw(st.sampled_from([1, 2, 8, 40])))
        match draw(st.sampled_from(["drop", "double", "swap", "truncate", "change"])):
            case "drop":
                data = data[:one] + data[two:]
            case "double":
                data = data[:two] + data[one:]
            case "swap":
                data = data[:one] + data[two:] + data[one:two]
            case "truncate":
                data = data[:one]
            case "change":
                data = data[:one] + draw(st.binary(min_size=1, max_size=2)) + data[one + 1 :]
    return name, data


@given(of=spoilt(), at=cuts())
def test_spoilt_recordings_are_a_reply_or_an_error_however_they_are_cut(
    of: tuple[tuple[str, str], bytes], at: list[int]
) -> None:
    name, data = of
    conversation = read_case(*name)
    exchange = conversation.exchange()
    whole = play(exchange, conversation, [data])
    assert play(conversation.exchange(), conversation, pieces_of(data, at)) == whole
    if exchange.error is None:
        if conversation.is_stream:
            read_stream(whole.out, include_usage=conversation.include_usage)
        else:
            read_completion(whole.out)
    else:
        assert 400 <= exchange.error.status <= 599
        if whole.out:
            stream = read_stream(whole.out, include_usage=conversation.include_usage)
            assert stream.error == exchange.error.envelope["error"]
