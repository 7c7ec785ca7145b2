"""The slots of an answer beside its text: choices, usage, reasons for the end, calls of tools."""

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


def test_several_choices() -> None:
    answer = {"results": [{"text": "a", "why": "length"}, {"text": "b"}]}
    whole = run_completion(CHOICES, answer, request(n=2))
    assert {index: (said.text, said.finish_reason) for index, said in whole.choices.items()} == {
        0: ("a", "length"),
        1: ("b", "stop"),
    }
    stream = run_stream(CHOICES, answer, request(n=2))
    assert {index: said.text for index, said in stream.choices.items()} == {0: "a", 1: "b"}


def test_choices_of_a_stream_go_by_their_index() -> None:
    slots = "choices: '$.c[*]', text: $item.t"
    frames = [{"c": [{"index": n, "t": text}]} for n, text in ((1, "b"), (0, "a"), (1, "B"))]
    stream = run_ndjson_stream(slots, *frames)
    assert {index: said.text for index, said in stream.choices.items()} == {0: "a", 1: "bB"}


def test_each_choice_is_cut_alone() -> None:
    frames = [{"c": [{"index": n, "t": text}]} for n, text in ((0, "aEN"), (1, "bEN"), (0, "D"), (1, "d"))]
    stream = run_ndjson_stream("choices: '$.c[*]', text: $item.t", *frames, n=2, stop="END")
    assert {index: said.text for index, said in stream.choices.items()} == {0: "a", 1: "bENd"}


def test_values_outside_of_the_choices_can_be_read_too() -> None:
    rules = "response: {choices: '$.c[*]', text: $item.t, finish_reason: $.why, usage: {prompt_tokens: $.p}}"
    whole = run_completion(rules, {"c": [{"t": "a"}, {"t": "b"}], "why": "length", "p": 1})
    assert [said.finish_reason for said in whole.choices.values()] == ["length", "length"]
    assert whole.usage is not None


ADJUSTED = "response: {finish_reason: {path: $item.finish_reason, map: {sensitive: content_filter}}}"
CENSORED = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "sensitive"}]}


def test_slots_that_adjust_openais_shape_adjust_its_streams() -> None:
    stream = run_stream(ADJUSTED, b"data: " + json.dumps(CENSORED).encode() + b"\n\ndata: [DONE]\n\n")
    assert (stream.choice.text, stream.choice.finish_reason) == ("a", "content_filter")


def test_a_stream_adjusts_what_the_response_has_adjusted() -> None:
    rules = ADJUSTED + "\nstream: {framing: ndjson}"
    stream = run_stream(rules, json.dumps(CENSORED).encode() + b"\n")
    assert (stream.choice.text, stream.choice.finish_reason) == ("a", "content_filter")


def counts(*numbers: int) -> dict[str, int]:
    return dict(zip(("prompt_tokens", "completion_tokens", "total_tokens"), numbers, strict=True))


@pytest.mark.parametrize(
    ("answer", "usage"),
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
def test_known_usage_parts_make_the_rest(answer: dict[str, Any], usage: dict[str, int] | None) -> None:
    slots = "text: $.t, usage: {prompt_tokens: $.p, completion_tokens: $.c, total_tokens: $.n}"
    whole = run_completion(f"response: {{{slots}}}", {"t": "x", **answer})
    assert whole.usage == usage
    stream = run_stream(f"response: {{{slots}}}", {"t": "x", **answer}, USAGE)
    assert stream.usage == usage


def test_details_of_usage() -> None:
    rules = "response: {text: $.t, usage: {prompt_tokens: $.p, cached_tokens: $.k, reasoning_tokens: $.r}}"
    usage = run_completion(rules, {"t": "x", "p": 3, "k": 1, "r": 0}).usage
    assert usage is not None
    assert usage["prompt_tokens_details"] == {"cached_tokens": 1}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 0}


def test_usage_of_a_stream_is_the_latest_or_the_sum() -> None:
    slots = "text: $.t, usage: {prompt_tokens: $.p, completion_tokens: {path: $.c, sum: true}}"
    stream = run_ndjson_stream(slots, {"t": "a", "p": 3, "c": 1}, {"t": "b", "p": 4, "c": 1.0}, {"c": 3})
    assert stream.usage == counts(4, 5, 9)


def test_usage_from_a_header() -> None:
    rules = "response: {text: $.t, usage: {completion_tokens: {header: X-Tokens}}}"
    assert run_completion(rules, {"t": "x"}, headers={"x-tokens": "12"}).usage == counts(0, 12, 12)


FINISH = (
    "finish_reason: {path: $.f, map: {eos: stop, limit: length, 2: content_filter}, unset: ['null', None]}"
)


@pytest.mark.parametrize(
    ("found", "reason"),
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
def test_finish_reasons(found: Any, reason: str) -> None:
    assert (
        run_completion(f"response: {{text: $.t, {FINISH}}}", {"t": "x", "f": found}).choice.finish_reason
        == reason
    )
    assert run_ndjson_stream(f"text: $.t, {FINISH}", {"t": "x"}, {"f": found}).choice.finish_reason == reason


@pytest.mark.parametrize("found", ["null", "None", "", None, False])
def test_an_unset_reason_does_not_end_an_answer(found: Any) -> None:
    stream = run_ndjson_stream(f"text: $.t, {FINISH}", {"t": "x", "f": found}, {"t": "y", "f": "length"})
    assert (stream.choice.text, stream.choice.finish_reason) == ("xy", "length")


def test_without_the_slot_an_answer_that_ended_well_ended_with_stop() -> None:
    assert run_completion("response: $.t", {"t": "x"}).choice.finish_reason == "stop"


def test_booleans_can_be_mapped() -> None:
    rules = "response: {text: $.t, finish_reason: {path: $.cut, map: {true: length, false: stop}}}"
    assert run_completion(rules, {"t": "x", "cut": True}).choice.finish_reason == "length"
    assert run_completion(rules, {"t": "x", "cut": False}).choice.finish_reason == "stop"


def test_id_and_role_and_logprobs() -> None:
    rules = "response: {text: $.t, id: $.id, role: $.who, logprobs: $.lp}"
    exchange_out = run_completion(rules, {"t": "x", "id": "a-1", "who": "tool", "lp": {"content": []}})
    assert (exchange_out.id, exchange_out.choice.role) == ("a-1", "tool")
    assert run_completion(rules, {"t": "x"}).choice.role == "assistant"
    assert run_completion(rules, {"t": "x", "id": 17}).id == "17"


def test_reasoning_goes_beside_the_text() -> None:
    stream = run_ndjson_stream("text: $.t, reasoning: $.r", {"r": "h"}, {"r": "m"}, {"t": "Teal."})
    assert (stream.choice.reasoning, stream.choice.text) == ("hm", "Teal.")


def test_tool_calls_in_pieces() -> None:
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
        ("stir", "{}"),  # clients parse what a call without arguments has
    ]
    assert len({call["id"] for call in stream.choice.tool_calls}) == 3
    assert stream.choice.finish_reason == "tool_calls"


def test_calls_of_each_choice_have_their_own_ids() -> None:
    rules = "response: {text: $.t, tool_calls: $.calls}"
    exchange = new_exchange(rules, request(n=2))
    for call in exchange.calls:
        exchange.start(call, 200, {})
        exchange.feed(call, pieces_of({"calls": [{"name": "f", "arguments": {}}]})[0])
        out = exchange.close(call)
    ids = [said.tool_calls[0]["id"] for said in read_completion(out).choices.values()]
    assert len(set(ids)) == 2
