"""Passthrough: the bytes of a conforming OpenAI response are forwarded unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.openai.sample_bodies import (
    TEXT,
    USAGE,
    assert_forwarded,
    choice,
    chunk,
    completion,
    events,
    forward,
    standard_chunks,
    text_chunk,
)
from tests.strict_client import read_completion, read_stream

WITH_USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}
LOGPROBS = {
    "content": [{"token": "Deep", "logprob": -0.1, "bytes": [68, 101, 101, 112], "top_logprobs": []}],
    "refusal": None,
}


def calls(*calls: dict[str, Any]) -> dict[str, Any]:
    return chunk({"tool_calls": list(calls)})


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"name": more.pop("name")} if "name" in more else {}
    return {"index": index, **more, "function": {**function, "arguments": arguments}}


TOOLS = [
    chunk(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call(0, "", id="call_a1", type="function", name="pick")],
        }
    ),
    calls(call(0, '{"colour":')),
    calls(call(0, '"teal"}')),
    calls(call(1, "{}", id="call_a2", type="function", name="pick")),
    chunk({}, "tool_calls"),
]


def test_a_stream_is_forwarded() -> None:
    assert read_stream(assert_forwarded(standard_chunks())).choice.text == TEXT


def test_a_stream_with_requested_usage_is_forwarded() -> None:
    assert read_stream(assert_forwarded(standard_chunks(usage=True), **WITH_USAGE)).usage == USAGE


def test_details_of_usage_are_forwarded() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0}, "x_cost": 0.25}
    *chunks, last = standard_chunks(usage=True)
    assert_forwarded([*chunks, {**last, "usage": {**USAGE, **details}}], **WITH_USAGE)


def test_vendor_fields_are_forwarded() -> None:
    chunks = [
        {**one, "system_fingerprint": "fp", "service_tier": None, "x_vendor": {"a": [1.50, "é\u2028"]}}
        for one in standard_chunks()
    ]
    assert_forwarded([{**one, "provider": "p"} for one in chunks])


def test_tool_calls_are_forwarded() -> None:
    each = read_stream(assert_forwarded(TOOLS)).choice
    assert [(call["id"], call["arguments"]) for call in each.tool_calls] == [
        ("call_a1", '{"colour":"teal"}'),
        ("call_a2", "{}"),
    ]


def test_vendor_fields_of_tool_calls_are_forwarded() -> None:
    first, *rest = TOOLS
    google = {"google": {"thought_signature": "c2ln"}}
    marked = json.loads(json.dumps(first))
    marked["choices"][0]["delta"]["tool_calls"][0]["extra_content"] = google
    assert_forwarded([marked, *rest])


def test_log_probabilities_reasoning_and_refusals_are_forwarded() -> None:
    first, *rest = standard_chunks()
    scored = chunk({"content": "Deep"})
    scored["choices"][0]["logprobs"] = LOGPROBS
    thought = chunk({"reasoning_content": "hm", "content": None})
    assert_forwarded([first, thought, scored, *rest[1:]])
    assert_forwarded([first, chunk({"refusal": "No."}), chunk({}, "stop")])


def test_several_choices_are_forwarded() -> None:
    chunks = [
        {**chunk(), "choices": [choice({"role": "assistant", "content": ""}, index=index)]}
        for index in (0, 1)
    ]
    chunks += [{**chunk(), "choices": [choice({"content": f"{n}"}, index=n)]} for n in (1, 0, 1)]
    chunks += [{**chunk(), "choices": [choice({}, "stop", index=n)]} for n in (1, 0)]
    stream = read_stream(assert_forwarded(chunks, n=2))
    assert {index: each.text for index, each in stream.choices.items()} == {0: "0", 1: "11"}


def test_a_finish_reason_beside_text_is_forwarded() -> None:
    assert_forwarded([*standard_chunks()[:-1], chunk({"content": "!"}, "length")])


def test_unrequested_usage_in_the_last_chunk_is_removed() -> None:
    last = chunk({"content": ""}, "stop")
    sent = events(*standard_chunks()[:-1], {**last, "usage": USAGE})
    out = forward(sent, stream=True)
    assert out == events(*standard_chunks()[:-1], last).encode()


def test_a_legacy_stream_is_forwarded() -> None:
    chunks = [text_chunk(word) for word in ("Deep", " teal")] + [text_chunk("", "stop")]
    assert read_stream(assert_forwarded(chunks, endpoint="completions")).choice.text == "Deep teal"
    last = {**text_chunk(""), "choices": [], "usage": USAGE}
    assert_forwarded([*chunks, last], endpoint="completions", **WITH_USAGE)


@pytest.mark.parametrize(
    "body",
    [
        completion(),
        completion(x_vendor={"a": [1.5, None, "\u2028"]}, usage={**USAGE, "prompt_tokens_details": {"x": 0}}),
        completion({"role": "assistant", "content": "hi", "reasoning_content": "hm", "annotations": []}),
        completion({"role": "assistant", "content": None, "refusal": "No."}),
        completion(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, "x": 1},
                ],
            }
        ),
    ],
)
def test_a_completion_is_forwarded(body: dict[str, Any]) -> None:
    for data in (json.dumps(body), json.dumps(body, indent=2)):
        assert forward(data) == data.encode()


def test_a_legacy_completion_is_forwarded() -> None:
    body = {**text_chunk("hi", "length"), "usage": USAGE}
    data = json.dumps(body)
    assert forward(data, endpoint="completions") == data.encode()
    assert read_completion(data.encode()).choice.text == "hi"
