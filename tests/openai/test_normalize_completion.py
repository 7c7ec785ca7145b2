"""Whole answers of servers that nearly speak OpenAI's language become answers that strict clients read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.exchange.single_exchange import request, run_failure
from tests.openai.sample_bodies import OPENAI, TEXT, USAGE, completion, forward
from tests.strict_client import Completion, read_completion

ONLY_PROMPT = {"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 21}


def mended(body: Any, *, endpoint: str = "chat") -> Completion:
    """The answer that a client gets of a server's."""
    return read_completion(forward(json.dumps(body), endpoint=endpoint))


def lacking(*names: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in completion().items() if name not in names} | more


@pytest.mark.parametrize(
    "body",
    [
        lacking("id"), lacking("object"), lacking("created"), lacking("model"), lacking("usage"),
        lacking(id=17), lacking(id=None), lacking(created=1.5), lacking(created="now"), lacking(model=None),
        lacking(object="text_completion"), lacking(error=None), lacking(error=""), lacking(error={}),
        lacking("id", "object", "created", "model", "usage"),
    ],
)  # fmt: skip
def test_what_an_answer_lacks(body: dict[str, Any]) -> None:
    answer = mended(body)
    assert (answer.object, answer.choice.text, answer.choice.finish_reason) == (
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
def test_choices_in_other_forms(choice: dict[str, Any]) -> None:
    answer = mended(completion(choices=[choice]))
    assert (answer.choice.role, answer.choice.text, answer.choice.finish_reason) == (
        "assistant",
        TEXT,
        "stop",
    )


def test_one_choice_in_place_of_a_list_of_them() -> None:
    assert mended(completion(choices={"message": {"content": TEXT}})).choice.text == TEXT


@pytest.mark.parametrize("indexes", [(None, None), (0, 0), (1, 2), (5, 5), (1, 0)])
def test_indexes(indexes: tuple[Any, Any]) -> None:
    choices = [{"index": index, "message": {"content": TEXT}} for index in indexes]
    answer = mended(completion(choices=choices))
    assert sorted(answer.choices) == [0, 1]


@pytest.mark.parametrize(
    ("usage", "told"),
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
def test_usage(usage: Any, told: Any) -> None:
    assert mended(completion(usage=usage)).usage == told


def test_details_of_usage_stay() -> None:
    usage = {
        **USAGE,
        "total_tokens": 26.0,
        "prompt_tokens_details": {"cached_tokens": 3.0, "audio_tokens": 0},
    }
    told = mended(completion(usage=usage)).usage
    assert told == {**USAGE, "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0}}
    assert type(told["prompt_tokens_details"]["cached_tokens"]) is int


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
def test_calls_of_tools(calls: Any, finish: Any) -> None:
    choice = {"index": 0, "message": {"content": None, "tool_calls": calls}, "finish_reason": finish}
    said = mended(completion(choices=[choice])).choice
    [call] = said.tool_calls
    assert (call["name"], call["arguments"]) == ("pick", '{"a":1}')
    assert said.finish_reason == "tool_calls"


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_an_answer_cut_short_may_have_no_text(finish: str) -> None:
    for message in ({"role": "assistant", "content": None}, {"role": "assistant"}, {}):
        choice = {"index": 0, "message": message, "finish_reason": finish}
        said = mended(completion(choices=[choice])).choice
        assert (said.text, said.finish_reason) == ("", finish)


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
def test_what_is_no_answer_is_an_error(body: Any) -> None:
    assert run_failure(OPENAI, json.dumps(body), request()).status == 502


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(completion()).replace('"logprobs": null', '"logprobs": NaN').encode(),
        json.dumps(completion()).encode().replace(b"mostly", b"m\xffstly"),
    ],
)
def test_what_only_lenient_readers_take_is_written_anew(data: bytes) -> None:
    out = forward(data)
    assert b"NaN" not in out
    assert read_completion(out).choice.text.startswith("Deep teal")


def test_a_chat_in_place_of_a_legacy_completion_and_the_other_way_round() -> None:
    answer = mended(completion(), endpoint="completions")
    assert (answer.object, answer.choice.text, answer.usage) == ("text_completion", TEXT, USAGE)
    legacy = completion(object="text_completion", choices=[{"text": TEXT, "finish_reason": "length"}])
    answer = mended(legacy)
    assert (answer.object, answer.choice.text, answer.choice.finish_reason) == (
        "chat.completion",
        TEXT,
        "length",
    )


def test_legacy_completions_know_no_calls_of_tools() -> None:
    legacy = completion(choices=[{"text": TEXT, "finish_reason": "tool_calls"}])
    assert mended(legacy, endpoint="completions").choice.finish_reason == "stop"
