"""Streams in which something stands in another place, or is of another kind, than OpenAI's."""

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


def test_texts_in_other_places() -> None:
    messages = [{**chunk(), "choices": [{"index": 0, "message": {"content": word}}]} for word in WORDS]
    texts = [{**chunk(), "choices": [{"index": 0, "text": word}]} for word in WORDS]
    for chunks in (messages, texts):
        assert normalize_stream(events(*chunks)).choice.text == TEXT


def test_contents_that_are_no_text() -> None:
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    parts = [{"type": "text", "text": "Deep"}, {"type": "text", "text": " teal"}]
    stream = normalize_stream(
        events(chunk({"content": thinking}), chunk({"content": parts}), chunk({"content": 5}))
    )
    assert stream.choice.text == "Deep teal5"


@pytest.mark.parametrize("choices", [None, {}, "text", 5, [None], [5, "x"], {"delta": {"content": "x"}}])
def test_choices_that_are_none(choices: Any) -> None:
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
def test_what_only_lenient_readers_take_is_written_anew(data: str | bytes) -> None:
    out = forward(data, stream=True)
    for word in (b"NaN", b"Infinity", b"\xff", b"\x00", b"\t"):
        assert word not in out
    assert normalize_stream(data).choice.text.startswith("Deep t")


def test_a_legacy_completion_in_the_form_of_a_chat_and_the_other_way_round() -> None:
    stream = normalize_stream(STANDARD, endpoint="completions")
    assert (stream.object, stream.choice.text, stream.usage) == ("text_completion", TEXT, USAGE)
    data = events(*(text_chunk(word) for word in WORDS), text_chunk("", "length"))
    stream = normalize_stream(data)
    assert (stream.object, stream.choice.text) == ("chat.completion.chunk", TEXT)
    assert (stream.choice.role, stream.choice.finish_reason) == ("assistant", "length")


def test_faults_of_legacy_completions() -> None:
    bare: list[dict[str, Any]] = [{"choices": [{"text": "a"}, {"index": 1, "text": "b"}]}]
    stream = normalize_stream(events(*bare, *bare), endpoint="completions")
    assert {index: said.text for index, said in stream.choices.items()} == {0: "aa", 1: "bb"}
    assert [said.finish_reason for said in stream.choices.values()] == ["stop", "stop"]
    late = [text_chunk("a", "stop"), text_chunk("b", "stop"), text_chunk("", "tool_calls")]
    stream = normalize_stream(events(*late), endpoint="completions")
    assert (stream.choice.text, stream.choice.finish_reason) == ("ab", "stop")


def test_a_whole_answer_of_several_lines_is_forwarded_too() -> None:
    assert read_completion(forward("\n" + event(completion()).removeprefix("data: "))).choice.text == TEXT
