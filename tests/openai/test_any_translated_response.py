"""The translated APIs: any bytes of an upstream, split anywhere, give the same valid events or an error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.exchange.strategies import ROUTES, bodies, cuts
from tests.openai.front_exchange import exchange, read_events

REQUESTS: dict[str, dict[str, Any]] = {
    "responses": {"input": "hi", "tools": [{"type": "custom", "name": "f"}]},
    "messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
}
LAST = {
    "responses": {"response.completed", "response.incomplete", "response.failed"},
    "messages": {"message_stop", "error"},
}


def outcome(endpoint: str, rules: str, pieces: list[bytes]) -> tuple[list[dict[str, Any]], int | None]:
    """Return the events of a stream, and the status of an error before the first of them."""
    made = exchange(endpoint, rules, {**REQUESTS[endpoint], "stream": True})
    (call,) = made.calls
    made.start(call, 200, {})
    out = b"".join([made.feed(call, piece) for piece in pieces]) + made.close(call)
    received = read_events(out)
    assert bool(received) is (made.error is None or made.started)
    return received, made.error.status if made.error is not None else None


def pieces_of(data: bytes, positions: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in zip([0, *positions], [*positions, len(data)], strict=True)]


@pytest.mark.parametrize("name", [name for name in ROUTES if name not in ("text", "small")])
@pytest.mark.parametrize("endpoint", REQUESTS)
@given(data=bodies(), positions=cuts())
def test_events_do_not_depend_on_splits(endpoint: str, name: str, data: bytes, positions: list[int]) -> None:
    events, status = outcome(endpoint, ROUTES[name], [data])
    positions = [min(position, len(data)) for position in positions]
    assert outcome(endpoint, ROUTES[name], pieces_of(data, positions)) == (events, status)
    if events:
        assert events[-1]["type"] in LAST[endpoint]
    if endpoint == "responses":
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
