"""Normalized streams whose members have other places or types than OpenAI's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.openai.sample_bodies import (
    DONE,
    TEXT,
    USAGE,
    WORDS,
    chunk,
    completion,
    event,
    events,
    forward,
    normalize_stream,
    standard_chunks,
    text_chunk,
)
from tests.strict_client import read_completion

EVENTS = [*map(event, standard_chunks(usage=True)), DONE]
STANDARD = "".join(EVENTS)


def test_text_is_read_from_message_and_text_members() -> None:
    messages = [{**chunk(), "choices": [{"index": 0, "message": {"content": word}}]} for word in WORDS]
    texts = [{**chunk(), "choices": [{"index": 0, "text": word}]} for word in WORDS]
    for chunks in (messages, texts):
        assert normalize_stream(events(*chunks)).choice.text == TEXT


def test_content_of_other_types_becomes_text() -> None:
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    parts = [{"type": "text", "text": "Deep"}, {"type": "text", "text": " teal"}]
    stream = normalize_stream(
        events(chunk({"content": thinking}), chunk({"content": parts}), chunk({"content": 5}))
    )
    assert stream.choice.text == "Deep teal5"


@pytest.mark.parametrize("choices", [None, {}, "text", 5, [None], [5, "x"], {"delta": {"content": "x"}}])
def test_chunks_with_invalid_choices_are_skipped(choices: Any) -> None:
    stream = normalize_stream(
        events(standard_chunks()[0], {**chunk(), "choices": choices}, *standard_chunks()[1:])
    )
    assert (stream.choice.text, stream.error) == (TEXT, None)


@pytest.mark.parametrize(
    "data",
    [
        STANDARD.replace(" teal", " t\\ud800l"),
        STANDARD.replace('"logprobs":null', '"logprobs":NaN'),
        STANDARD.replace('"logprobs":null', '"x":-Infinity,"y":1' + "0" * 30),
        STANDARD.encode().replace(b" teal", b" t\xff\xfel"),
        STANDARD.replace(" teal", " t\x00\tl"),
    ],
)
def test_json_that_only_lenient_parsers_accept_is_rewritten(data: str | bytes) -> None:
    out = forward(data, stream=True)
    for word in (b"NaN", b"Infinity", b"\xff", b"\x00", b"\t"):
        assert word not in out
    assert normalize_stream(data).choice.text.startswith("Deep t")


def test_chat_and_legacy_streams_are_converted_into_each_other() -> None:
    stream = normalize_stream(STANDARD, endpoint="completions")
    assert (stream.object, stream.choice.text, stream.usage) == ("text_completion", TEXT, USAGE)
    data = events(*(text_chunk(word) for word in WORDS), text_chunk("", "length"))
    stream = normalize_stream(data)
    assert (stream.object, stream.choice.text) == ("chat.completion.chunk", TEXT)
    assert (stream.choice.role, stream.choice.finish_reason) == ("assistant", "length")


def test_legacy_streams_are_normalized() -> None:
    bare: list[dict[str, Any]] = [{"choices": [{"text": "a"}, {"index": 1, "text": "b"}]}]
    stream = normalize_stream(events(*bare, *bare), endpoint="completions")
    assert {index: choice.text for index, choice in stream.choices.items()} == {0: "aa", 1: "bb"}
    assert [choice.finish_reason for choice in stream.choices.values()] == ["stop", "stop"]
    late = [text_chunk("a", "stop"), text_chunk("b", "stop"), text_chunk("", "tool_calls")]
    stream = normalize_stream(events(*late), endpoint="completions")
    assert (stream.choice.text, stream.choice.finish_reason) == ("ab", "stop")


def test_a_completion_after_a_blank_line_is_forwarded() -> None:
    assert read_completion(forward("\n" + event(completion()).removeprefix("data: "))).choice.text == TEXT
