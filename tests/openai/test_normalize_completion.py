"""Normalized completions: nearly-OpenAI bodies become completions that strict clients accept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.exchange.single_exchange import request, run_failure
from tests.openai.sample_bodies import OPENAI, TEXT, USAGE, completion, forward
from tests.strict_client import Completion, read_completion

ONLY_PROMPT = {"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 21}


def normalized(body: Any, *, endpoint: str = "chat") -> Completion:
    """Return the completion that a client gets of an upstream body."""
    return read_completion(forward(json.dumps(body), endpoint=endpoint))


def without(*names: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in completion().items() if name not in names} | more


@pytest.mark.parametrize(
    "body",
    [
        without("id"), without("object"), without("created"), without("model"), without("usage"),
        without(id=17), without(id=None), without(created=1.5), without(created="now"), without(model=None),
        without(object="text_completion"), without(error=None), without(error=""), without(error={}),
        without("id", "object", "created", "model", "usage"),
    ],
)  # fmt: skip
def test_missing_and_invalid_members_are_replaced(body: dict[str, Any]) -> None:
    result = normalized(body)
    assert (result.object, result.choice.text, result.choice.finish_reason) == (
        "chat.completion",
        TEXT,
        "stop",
    )


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": TEXT}},
        {"message": {"role": "bot", "content": TEXT}, "finish_reason": "eos"},
        {"message": {"role": None, "content": TEXT}, "finish_reason": None},
        {"message": {"content": [{"type": "text", "text": TEXT}]}, "finish_reason": ""},
        {"message": {"content": TEXT, "tool_calls": None, "refusal": None}, "index": None},
        {"message": {"content": TEXT, "reasoning_content": 5}, "index": "0"},
        {"message": {"content": TEXT}, "index": -1},
        {"message": {"content": TEXT}, "index": 7},
        {"text": TEXT, "index": 0},
        {"delta": {"content": TEXT}, "message": None, "text": TEXT},
    ],
)
def test_choices_in_other_shapes_are_normalized(choice: dict[str, Any]) -> None:
    result = normalized(completion(choices=[choice]))
    assert (result.choice.role, result.choice.text, result.choice.finish_reason) == (
        "assistant",
        TEXT,
        "stop",
    )


def test_a_single_choice_becomes_a_list() -> None:
    assert normalized(completion(choices={"message": {"content": TEXT}})).choice.text == TEXT


@pytest.mark.parametrize("indexes", [(None, None), (0, 0), (1, 2), (5, 5), (1, 0)])
def test_missing_and_duplicate_indexes_are_renumbered(indexes: tuple[Any, Any]) -> None:
    choices = [{"index": index, "message": {"content": TEXT}} for index in indexes]
    result = normalized(completion(choices=choices))
    assert sorted(result.choices) == [0, 1]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 21.0, "completion_tokens": 5.0, "total_tokens": 26.0}, USAGE),
        ({"prompt_tokens": 21, "completion_tokens": 5}, USAGE),
        ({"prompt_tokens": "21", "completion_tokens": None}, ONLY_PROMPT),
        (None, None),
        ({}, None),
        ([], None),
        ("many", None),
    ],
)  # fmt: skip
def test_usage_is_normalized_or_zero(usage: Any, expected: Any) -> None:
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert normalized(completion(usage=usage)).usage == (expected or zero)


def test_details_of_usage_are_kept_as_integers() -> None:
    usage = {
        **USAGE,
        "total_tokens": 26.0,
        "prompt_tokens_details": {"cached_tokens": 3.0, "audio_tokens": 0},
    }
    expected = normalized(completion(usage=usage)).usage
    assert expected == {**USAGE, "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0}}
    assert type(expected["prompt_tokens_details"]["cached_tokens"]) is int


@pytest.mark.parametrize(
    "calls",
    [
        [{"id": "a", "type": "function", "function": {"name": "pick", "arguments": '{"a":1}'}}],
        [{"function": {"name": "pick", "arguments": {"a": 1}}}],
        [{"id": None, "type": None, "function": {"name": "pick", "arguments": '{"a":1}'}}],
        [{"id": 5, "name": "pick", "arguments": {"a": 1}}],
        {"id": "a", "function": {"name": "pick", "arguments": '{"a":1}'}},
        [None, {"index": 0, "id": "a", "function": {"name": "pick", "arguments": '{"a":1}'}}],
    ],
)
@pytest.mark.parametrize("finish", ["tool_calls", None])
def test_tool_calls_are_normalized(calls: Any, finish: Any) -> None:
    choice = {"index": 0, "message": {"content": None, "tool_calls": calls}, "finish_reason": finish}
    choice_read = normalized(completion(choices=[choice])).choice
    [call] = choice_read.tool_calls
    assert (call["name"], call["arguments"]) == ("pick", '{"a":1}')
    assert choice_read.finish_reason == "tool_calls"


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_truncated_completion_may_have_no_text(finish: str) -> None:
    for message in ({"role": "assistant", "content": None}, {"role": "assistant"}, {}):
        choice = {"index": 0, "message": message, "finish_reason": finish}
        choice_read = normalized(completion(choices=[choice])).choice
        assert (choice_read.text, choice_read.finish_reason) == ("", finish)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "hi",
        None,
        {"choices": []},
        {"choices": None},
        {"choices": [None]},
        {"choices": [{"message": {}}]},
    ],
)
def test_a_body_without_choices_is_an_error(body: Any) -> None:
    assert run_failure(OPENAI, json.dumps(body), request()).status == 502


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(completion()).replace('"logprobs": null', '"logprobs": NaN').encode(),
        json.dumps(completion()).encode().replace(b"mostly", b"m\xffstly"),
    ],
)
def test_json_that_only_lenient_parsers_accept_is_rewritten(data: bytes) -> None:
    out = forward(data)
    assert b"NaN" not in out
    assert read_completion(out).choice.text.startswith("Deep teal")


def test_chat_and_legacy_completions_are_converted_into_each_other() -> None:
    result = normalized(completion(), endpoint="completions")
    assert (result.object, result.choice.text, result.usage) == ("text_completion", TEXT, USAGE)
    legacy = completion(object="text_completion", choices=[{"text": TEXT, "finish_reason": "length"}])
    result = normalized(legacy)
    assert (result.object, result.choice.text, result.choice.finish_reason) == (
        "chat.completion",
        TEXT,
        "length",
    )


def test_a_legacy_completion_does_not_finish_with_tool_calls() -> None:
    legacy = completion(choices=[{"text": TEXT, "finish_reason": "tool_calls"}])
    assert normalized(legacy, endpoint="completions").choice.finish_reason == "stop"
