"""Members of a response other than its text: choices, usage, finish reasons and tool calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.exchange.single_exchange import (
    new_exchange,
    pieces_of,
    request,
    run_completion,
    run_ndjson_stream,
    run_stream,
)
from tests.strict_client import read_completion

USAGE = {"stream_options": {"include_usage": True}}


CHOICES = "response: {choices: '$.results[*]', text: $item.text, finish_reason: $item.why}"


def test_several_choices_are_read() -> None:
    body = {"results": [{"text": "a", "why": "length"}, {"text": "b"}]}
    completion = run_completion(CHOICES, body, request(n=2))
    assert {index: (choice.text, choice.finish_reason) for index, choice in completion.choices.items()} == {
        0: ("a", "length"),
        1: ("b", "stop"),
    }
    stream = run_stream(CHOICES, body, request(n=2))
    assert {index: choice.text for index, choice in stream.choices.items()} == {0: "a", 1: "b"}


def test_choices_of_a_stream_are_identified_by_index() -> None:
    slots = "choices: '$.c[*]', text: $item.t"
    frames = [{"c": [{"index": n, "t": text}]} for n, text in ((1, "b"), (0, "a"), (1, "B"))]
    stream = run_ndjson_stream(slots, *frames)
    assert {index: choice.text for index, choice in stream.choices.items()} == {0: "a", 1: "bB"}


def test_each_choice_has_its_own_stop_string() -> None:
    frames = [{"c": [{"index": n, "t": text}]} for n, text in ((0, "aEN"), (1, "bEN"), (0, "D"), (1, "d"))]
    stream = run_ndjson_stream("choices: '$.c[*]', text: $item.t", *frames, n=2, stop="END")
    assert {index: choice.text for index, choice in stream.choices.items()} == {0: "a", 1: "bENd"}


def test_members_outside_of_the_choices_are_read() -> None:
    rules = "response: {choices: '$.c[*]', text: $item.t, finish_reason: $.why, usage: {prompt_tokens: $.p}}"
    completion = run_completion(rules, {"c": [{"t": "a"}, {"t": "b"}], "why": "length", "p": 1})
    assert [choice.finish_reason for choice in completion.choices.values()] == ["length", "length"]
    assert completion.usage is not None


MAPPED = "response: {finish_reason: {path: $item.finish_reason, map: {sensitive: content_filter}}}"
FILTERED = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "sensitive"}]}


def test_extractors_over_openais_shape_apply_to_streams() -> None:
    stream = run_stream(MAPPED, b"data: " + json.dumps(FILTERED).encode() + b"\n\ndata: [DONE]\n\n")
    assert (stream.choice.text, stream.choice.finish_reason) == ("a", "content_filter")


def test_extractors_of_the_response_apply_to_its_stream() -> None:
    rules = MAPPED + "\nstream: {framing: ndjson}"
    stream = run_stream(rules, json.dumps(FILTERED).encode() + b"\n")
    assert (stream.choice.text, stream.choice.finish_reason) == ("a", "content_filter")


def counts(*numbers: int) -> dict[str, int]:
    return dict(zip(("prompt_tokens", "completion_tokens", "total_tokens"), numbers, strict=True))


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({"p": 3, "c": 2, "n": 7}, counts(3, 2, 7)),
        ({"p": 3, "c": 2}, counts(3, 2, 5)),
        ({"c": 2}, counts(0, 2, 2)),
        ({"n": 7}, counts(0, 0, 7)),
        ({"p": 3.0, "c": "2"}, counts(3, 2, 5)),
        ({"p": 0}, counts(0, 0, 0)),
        ({}, None),
        ({"p": None, "c": "?", "n": True}, None),
    ],
)
def test_missing_usage_members_are_computed(body: dict[str, Any], usage: dict[str, int] | None) -> None:
    slots = "text: $.t, usage: {prompt_tokens: $.p, completion_tokens: $.c, total_tokens: $.n}"
    completion = run_completion(f"response: {{{slots}}}", {"t": "x", **body})
    assert completion.usage == (usage or counts(0, 0, 0))
    stream = run_stream(f"response: {{{slots}}}", {"t": "x", **body}, USAGE)
    assert stream.usage == usage


def test_details_of_usage_are_read() -> None:
    rules = "response: {text: $.t, usage: {prompt_tokens: $.p, cached_tokens: $.k, reasoning_tokens: $.r}}"
    usage = run_completion(rules, {"t": "x", "p": 3, "k": 1, "r": 0}).usage
    assert usage is not None
    assert usage["prompt_tokens_details"] == {"cached_tokens": 1}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 0}


def test_usage_of_a_stream_is_its_latest_value_or_the_sum() -> None:
    slots = "text: $.t, usage: {prompt_tokens: $.p, completion_tokens: {path: $.c, sum: true}}"
    stream = run_ndjson_stream(slots, {"t": "a", "p": 3, "c": 1}, {"t": "b", "p": 4, "c": 1.0}, {"c": 3})
    assert stream.usage == counts(4, 5, 9)


def test_usage_is_read_from_a_header() -> None:
    rules = "response: {text: $.t, usage: {completion_tokens: {header: X-Tokens}}}"
    assert run_completion(rules, {"t": "x"}, headers={"x-tokens": "12"}).usage == counts(0, 12, 12)


FINISH = (
    "finish_reason: {path: $.f, map: {eos: stop, limit: length, 2: content_filter}, unset: ['null', None]}"
)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("eos", "stop"),
        ("limit", "length"),
        (2, "content_filter"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("strange", "stop"),
        ("null", "stop"),
        ("", "stop"),
        (None, "stop"),
        (True, "stop"),
        (False, "stop"),
    ],
)
def test_finish_reasons_are_mapped(sent: Any, reason: str) -> None:
    assert (
        run_completion(f"response: {{text: $.t, {FINISH}}}", {"t": "x", "f": sent}).choice.finish_reason
        == reason
    )
    assert run_ndjson_stream(f"text: $.t, {FINISH}", {"t": "x"}, {"f": sent}).choice.finish_reason == reason


@pytest.mark.parametrize("sent", ["null", "None", "", None, False])
def test_an_unset_finish_reason_does_not_end_a_choice(sent: Any) -> None:
    stream = run_ndjson_stream(f"text: $.t, {FINISH}", {"t": "x", "f": sent}, {"t": "y", "f": "length"})
    assert (stream.choice.text, stream.choice.finish_reason) == ("xy", "length")


def test_the_default_finish_reason_is_stop() -> None:
    assert run_completion("response: $.t", {"t": "x"}).choice.finish_reason == "stop"


def test_booleans_can_be_mapped() -> None:
    rules = "response: {text: $.t, finish_reason: {path: $.cut, map: {true: length, false: stop}}}"
    assert run_completion(rules, {"t": "x", "cut": True}).choice.finish_reason == "length"
    assert run_completion(rules, {"t": "x", "cut": False}).choice.finish_reason == "stop"


def test_id_and_role_and_logprobs() -> None:
    rules = "response: {text: $.t, id: $.id, role: $.who, logprobs: $.lp}"
    completion = run_completion(rules, {"t": "x", "id": "a-1", "who": "tool", "lp": {"content": []}})
    assert (completion.id, completion.choice.role) == ("a-1", "tool")
    assert run_completion(rules, {"t": "x"}).choice.role == "assistant"
    assert run_completion(rules, {"t": "x", "id": 17}).id == "17"


def test_reasoning_is_read_beside_the_text() -> None:
    stream = run_ndjson_stream("text: $.t, reasoning: $.r", {"r": "h"}, {"r": "m"}, {"t": "Teal."})
    assert (stream.choice.reasoning, stream.choice.text) == ("hm", "Teal.")


def test_fragments_of_tool_calls_are_joined() -> None:
    frames = [
        {"calls": [{"id": "a", "function": {"name": "pick", "arguments": '{"c":'}}]},
        {"calls": [{"function": {"arguments": '"teal"}'}}]},
        {"calls": [{"id": "b", "name": "mix", "arguments": {"n": 2}}]},
        {"calls": [{"index": 7, "function": {"name": "stir"}}]},
    ]
    stream = run_ndjson_stream("text: $.t, tool_calls: $.calls", *frames)
    assert [(call["name"], call["arguments"]) for call in stream.choice.tool_calls] == [
        ("pick", '{"c":"teal"}'),
        ("mix", '{"n":2}'),
        ("stir", "{}"),  # clients parse the arguments as JSON
    ]
    assert len({call["id"] for call in stream.choice.tool_calls}) == 3
    assert stream.choice.finish_reason == "tool_calls"


def test_tool_calls_of_each_choice_have_distinct_ids() -> None:
    rules = "response: {text: $.t, tool_calls: $.calls}"
    exchange = new_exchange(rules, request(n=2))
    for call in exchange.calls:
        exchange.start(call, 200, {})
        exchange.feed(call, pieces_of({"calls": [{"name": "f", "arguments": {}}]})[0])
        out = exchange.close(call)
    ids = [choice.tool_calls[0]["id"] for choice in read_completion(out).choices.values()]
    assert len(set(ids)) == 2
