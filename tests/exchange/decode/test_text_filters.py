"""Filters of the text of a response: prompts stripped, ends trimmed, pieces joined."""

from __future__ import annotations

import pytest

from tests.exchange.single_exchange import ndjson, request, run_completion, run_failure, run_ndjson_stream


@pytest.mark.parametrize("prompt", ["hi", "User: hi"])
def test_strip_prompt_removes_the_prompt(prompt: str) -> None:
    rules = "request: {body: {p: $.prompt}}\nresponse: {text: {path: $.t, strip_prompt: true}}"
    body = request(messages=[{"role": "user", "content": prompt}])
    assert run_completion(rules, {"t": prompt + " there"}, body).choice.text == " there"
    assert run_completion(rules, {"t": "there"}, body).choice.text == "there"
    assert run_completion(rules, {"t": prompt}, body).choice.text == ""


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["hi there"], " there"),
        (["h", "i", " there"], " there"),
        (["h", "o", "w"], "how"),
        (["", "hi", "hi"], "hi"),
        (["h"], "h"),
    ],
)
def test_strip_prompt_applies_to_deltas(texts: list[str], text: str) -> None:
    slots = "text: {path: $.t, strip_prompt: true}"
    assert run_ndjson_stream(slots, *({"t": text} for text in texts)).choice.text == text


def test_strip_prompt_applies_to_cumulative_texts() -> None:
    slots = "mode: cumulative, text: {path: $.t, strip_prompt: true}"
    for texts in (["hi", "hi a", "hi ab"], ["h", "hi", "hi ab"], [" a", " ab"]):
        assert run_ndjson_stream(slots, *({"t": text} for text in texts)).choice.text == " ab"


def test_trim_removes_surrounding_white_space() -> None:
    assert (
        run_completion("response: {text: {path: $.t, trim: true}}", {"t": " \n a b \n"}).choice.text == "a b"
    )
    stream = run_ndjson_stream(
        "text: {path: $.t, trim: true}", *({"t": text} for text in (" ", "\n a", " ", "b ", "\n", " "))
    )
    assert stream.choice.text == "a b"


def test_trim_is_applied_after_strip_prompt_and_before_stop() -> None:
    slots = "text: {path: $.t, trim: true, strip_prompt: true}"
    assert run_ndjson_stream(slots, {"t": "hi  a"}, {"t": "  \n"}, stop="\n").choice.text == "a"


def test_as_json_decodes_a_json_string() -> None:
    rules = "response: {text: {path: $.t, as: json}}"
    assert run_completion(rules, {"t": '"say \\"hi\\""'}).choice.text == 'say "hi"'
    assert run_failure(rules, {"t": "no json"}).code == "upstream_empty"


def test_a_list_of_strings_is_joined() -> None:
    assert run_completion("response: $.t", {"t": ["a", "b"]}).choice.text == "ab"
    assert run_completion("response: $.all[*].t", {"all": [{"t": "a"}, {"t": "b"}]}).choice.text == "ab"
    rules = "response: {text: {path: '$.t', join: ', '}}"
    assert run_completion(rules, {"t": ["a", "b"]}).choice.text == "a, b"


def test_a_number_is_text_and_a_mapping_is_not() -> None:
    assert run_completion("response: $.t", {"t": 5}).choice.text == "5"
    assert run_failure("response: $.t", {"t": {"a": "b"}}).code == "upstream_empty"


def test_the_first_source_with_a_value_is_the_text() -> None:
    rules = "response: {text: [$.a, {header: x-text}, {const: none}]}"
    assert run_completion(rules, {"a": "A"}).choice.text == "A"
    assert run_completion(rules, {"a": None}, headers={"x-text": "H"}).choice.text == "H"
    assert run_completion(rules, {}).choice.text == "none"


def test_the_whole_body_may_be_the_text() -> None:
    assert run_completion("response: $", b"just text").choice.text == "just text"
    assert run_completion("response: $", {}).choice.text == "{}"


@pytest.mark.parametrize(
    ("texts", "chunks"),
    [
        (["a", "ab", "abc"], ["a", "b", "c"]),
        (["a", "a", "ab"], ["a", "b"]),
        (["na\ufffd", "naïv", "naïve"], ["na", "ïv", "e"]),
        (["a\ufffd"], ["a", "\ufffd"]),
        (["", "a"], ["a"]),
        (["a\ud83d", "a\ud83d\ude00b"], ["a", "😀b"]),
    ],
)
def test_cumulative_texts_become_deltas(texts: list[str], chunks: list[str]) -> None:
    stream = run_ndjson_stream("mode: cumulative, text: $.t", *({"t": text} for text in texts))
    assert stream.choice.chunks == chunks


def test_halves_of_a_surrogate_pair_are_joined_across_frames() -> None:
    assert run_ndjson_stream("text: $.t", {"t": "a\ud83d"}, {"t": "\ude00b"}).choice.text == "a😀b"
    assert run_ndjson_stream("text: $.t", {"t": "a\ud83d"}, {"t": "b"}).choice.text == "a\ufffdb"
    assert run_ndjson_stream("text: $.t", {"t": "a\ud83d"}).choice.text == "a\ufffd"
    stream = run_ndjson_stream(
        "text: $.t, reasoning: $.r", {"r": "a\ud83d"}, {"r": "\ude00b\ud83d"}, {"t": "x"}
    )
    assert stream.choice.reasoning == "a😀b\ufffd"


def test_replace_ends_with_content_filter() -> None:
    frames = [{"t": "bad"}, {"t": " words", "sorry": "Let us not."}, {"t": "more"}]
    stream = run_ndjson_stream("text: $.t, replace: $.sorry", *frames)
    assert stream.choice.text.startswith("bad")
    assert "more" not in stream.choice.text
    assert stream.choice.finish_reason == "content_filter"
    rules = "response: false\nstream: {framing: ndjson, text: $.t, replace: $.sorry}"
    completion = run_completion(rules, ndjson(*frames))
    # A response that is gathered goes on after the replacement.
    assert (completion.choice.text, completion.choice.finish_reason) == ("Let us not.more", "content_filter")


def test_withheld_text_is_dropped_when_the_text_is_replaced() -> None:
    rules = "request: {drop: [stop]}\nresponse: false\nstream: {framing: ndjson, text: $.t, replace: $.sorry}"
    frames = ndjson({"t": "bad E"}, {"sorry": "Let us not."})
    assert run_completion(rules, frames, request(stop="END")).choice.text == "Let us not."
