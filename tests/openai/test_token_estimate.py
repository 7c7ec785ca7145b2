"""The rule of thumb for tokens: by the kinds of characters, whatever the cuts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.deltas import Delta
from bridge.openai.token_estimate import TokenEstimator, chat_tokens, input_tokens, text_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("four", 1),
        ("fours", 2),
        ("Grüße!", 2),  # Latin letters with marks are Latin letters
        ("привет!", 4),  # six of half a token, a quarter
        ("你好", 2),
        ("こんにちは", 5),
        ("안녕", 2),
        ("，。", 2),
        ("😀", 2),
        ("hi 你好 😀", 5),  # four quarters of Latin, two and two whole ones
    ],
)
def test_a_text_has_about_so_many_tokens(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens


def test_a_chats_messages_cost_their_ends_too() -> None:
    messages = [{"role": "system", "content": "four"}, {"role": "user", "content": "four" * 2}]
    assert chat_tokens({}, messages) == 3 + (3 + 1) + (3 + 2)
    parts = [{"type": "text", "text": "four"}, {"type": "image_url", "image_url": {"url": "data:…"}}]
    assert chat_tokens({}, [{"role": "user", "content": parts}]) == 3 + 3 + 1
    assert chat_tokens({}, [{"role": "assistant", "content": None}]) == 3 + 3
    assert chat_tokens({"tools": [{"a": 1}]}, []) == 3 + 3  # [{"a":1}] as it is sent


def test_prompts_and_inputs_are_texts_or_tokens() -> None:
    assert input_tokens("prompt")({"prompt": ["four", "fours"]}, []) == 1 + 2
    assert input_tokens("prompt")({}, [{"role": "user", "content": "four"}]) == 1
    assert input_tokens("input")({"input": "four"}, []) == 1
    assert input_tokens("input")({"input": [[5, 6, 7], [8]]}, []) == 4


@given(st.lists(st.text()))
def test_what_is_said_in_pieces_counts_as_what_is_said_at_once(pieces: list[str]) -> None:
    apart, together = TokenEstimator(), TokenEstimator()
    for piece in pieces:
        apart.add(Delta(piece))
    together.add(Delta("".join(pieces)))
    assert apart.tokens == together.tokens == text_tokens("".join(pieces))


def test_thoughts_and_calls_of_tools_are_said_too() -> None:
    tally = TokenEstimator()
    tally.add(Delta("four", reasoning="four"))
    tally.add(Delta(tool_calls=[{"index": 0, "function": {"name": "pick", "arguments": "{}  "}}]))
    assert tally.tokens == 4
