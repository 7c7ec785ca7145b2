"""Token estimates: by kinds of characters, independent of how a text is split."""

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
        ("Grüße!", 2),  # letters with diacritics count as Latin letters
        ("привет!", 4),  # six halves of a token and a quarter
        ("你好", 2),
        ("こんにちは", 5),
        ("안녕", 2),
        ("，。", 2),
        ("😀", 2),
        ("hi 你好 😀", 5),  # four quarters for Latin characters, two tokens, and two tokens
    ],
)
def test_the_tokens_of_a_text_are_estimated(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens


def test_messages_cost_their_delimiters() -> None:
    messages = [{"role": "system", "content": "four"}, {"role": "user", "content": "four" * 2}]
    assert chat_tokens({}, messages) == 3 + (3 + 1) + (3 + 2)
    parts = [{"type": "text", "text": "four"}, {"type": "image_url", "image_url": {"url": "data:…"}}]
    assert chat_tokens({}, [{"role": "user", "content": parts}]) == 3 + 3 + 1
    assert chat_tokens({}, [{"role": "assistant", "content": None}]) == 3 + 3
    assert chat_tokens({"tools": [{"a": 1}]}, []) == 3 + 3  # [{"a":1}] in the JSON that is sent


def test_prompts_and_inputs_may_be_texts_or_tokens() -> None:
    assert input_tokens("prompt")({"prompt": ["four", "fours"]}, []) == 1 + 2
    assert input_tokens("prompt")({}, [{"role": "user", "content": "four"}]) == 1
    assert input_tokens("input")({"input": "four"}, []) == 1
    assert input_tokens("input")({"input": [[5, 6, 7], [8]]}, []) == 4


@given(st.lists(st.text()))
def test_the_estimate_is_independent_of_splits(pieces: list[str]) -> None:
    split, joined = TokenEstimator(), TokenEstimator()
    for piece in pieces:
        split.add(Delta(piece))
    joined.add(Delta("".join(pieces)))
    assert split.tokens == joined.tokens == text_tokens("".join(pieces))


def test_reasoning_and_tool_calls_are_counted() -> None:
    estimator = TokenEstimator()
    estimator.add(Delta("four", reasoning="four"))
    estimator.add(Delta(tool_calls=[{"index": 0, "function": {"name": "pick", "arguments": "{}  "}}]))
    assert estimator.tokens == 4
