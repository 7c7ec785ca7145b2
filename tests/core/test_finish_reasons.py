"""Finish reasons: servers' words in OpenAI's vocabulary."""

from __future__ import annotations

import pytest

from bridge.core.finish_reasons import FAILED, FINISH_REASONS, read_finish_reason


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("length", "length Length MAX_TOKENS max_tokens max-tokens maxTokens model_length max_output_tokens"),
        ("stop", "stop STOP eos eos_token end_turn END_TURN stop_sequence COMPLETE done"),
        ("tool_calls", "tool_calls TOOL_CALL tool_use tool-use toolUse"),
        ("function_call", "function_call FUNCTION_CALL function-call"),
        (
            "content_filter",
            "content_filter content-filter SAFETY RECITATION IMAGE_SAFETY refusal",
        ),
        (FAILED, "error ERROR abort aborted cancelled CANCELED failed"),
    ],
)
def test_words_are_compared_without_case_and_separators(reason: str, words: str) -> None:
    """A word means the same in every spelling."""
    assert {read_finish_reason(word) for word in words.split()} == {reason}
    assert read_finish_reason(words.split()[0].replace("_", " ").title()) == reason


def test_openai_reasons_are_unchanged() -> None:
    """The five documented reasons mean themselves."""
    assert {read_finish_reason(word) for word in FINISH_REASONS} == FINISH_REASONS


@pytest.mark.parametrize("value", ["a new reason", "FINISH_MATCHED_STR", 3, True, {"type": "length"}])
def test_unknown_values_become_stop(value: object) -> None:
    """The table is the only source of meanings."""
    assert read_finish_reason(value) == "stop"


@pytest.mark.parametrize("value", [None, False, "", "null", "None", "FINISH_REASON_UNSPECIFIED"])
def test_values_that_mean_not_finished(value: object) -> None:
    """Some servers send a word in every frame."""
    assert read_finish_reason(value) is None
