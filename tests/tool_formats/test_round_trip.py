"""Arbitrary tool calls in each format: streaming and non-streaming responses give the same calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exchange.single_exchange import bytewise, run_completion, run_stream
from tests.tool_formats.sample_responses import SERVERS, ModelCall

if TYPE_CHECKING:
    from tests.strict_client import Choice

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(max_size=6), JSON, max_size=3)
NAMES = st.sampled_from(["pick", "mix", "look_up"])


@st.composite
def _calls(draw: st.DrawFn) -> list[ModelCall]:
    count = draw(st.integers(1, 4))
    return [ModelCall(f"tool_{n}", draw(NAMES), draw(ARGUMENTS)) for n in range(count)]


def _cut(sizes: list[int], text: str) -> list[str]:
    """Return a text in pieces of these sizes, and the rest."""
    pieces: list[str] = []
    for size in [*sizes, len(text)]:
        piece, text = text[:size], text[size:]
        pieces.append(piece)
    return pieces


def _parsed(streamed: Choice) -> list[tuple[str, Any]]:
    return [(call["name"], json.loads(call["arguments"])) for call in streamed.tool_calls]


@pytest.mark.parametrize("name", SERVERS)
@given(text=st.text("ab é", max_size=5), calls=_calls(), sizes=st.lists(st.integers(0, 6), max_size=5))
def test_streaming_and_non_streaming_calls_are_equal(
    name: str, text: str, calls: list[ModelCall], sizes: list[int]
) -> None:
    server = SERVERS[name]
    completed = run_completion(server.rules, server.whole(text, calls)).choice
    stream = server.streamed(text, calls, lambda arguments: _cut(sizes, arguments))
    streamed = run_stream(server.rules, stream).choice
    assert run_stream(server.rules, bytewise(stream)).choice == streamed
    assert _parsed(completed) == _parsed(streamed) == [(call.name, call.arguments) for call in calls]
    assert (
        (completed.text, completed.finish_reason)
        == (streamed.text, streamed.finish_reason)
        == (text, "tool_calls")
    )
    ids = [call["id"] for call in streamed.tool_calls]
    assert ids == [call["id"] for call in completed.tool_calls]
    assert ids == [call.id for call in calls] if server.ids else len(set(ids)) == len(calls)


@pytest.mark.parametrize("name", SERVERS)
def test_text_alone_has_no_tool_calls(name: str) -> None:
    server = SERVERS[name]
    completed = run_completion(server.rules, server.whole("Teal.", [])).choice
    streamed = run_stream(server.rules, server.streamed("Teal.", [], lambda text: [text])).choice
    for choice in (completed, streamed):
        assert (choice.text, choice.tool_calls, choice.finish_reason) == ("Teal.", [], "stop")
