"""The text of an answer, and what is done to it: prompts stripped, ends trimmed, pieces joined."""

from __future__ import annotations

import pytest

from tests.exchange.single_exchange import completed, failed, lines, of_stream, request


@pytest.mark.parametrize("prompt", ["hi", "User: hi"])
def test_strip_prompt(prompt: str) -> None:
    rules = "request: {body: {p: $.prompt}}\nresponse: {text: {path: $.t, strip_prompt: true}}"
    asked = request(messages=[{"role": "user", "content": prompt}])
    assert completed(rules, {"t": prompt + " there"}, asked).said.text == " there"
    assert completed(rules, {"t": "there"}, asked).said.text == "there"
    assert completed(rules, {"t": prompt}, asked).said.text == ""


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
def test_strip_prompt_from_deltas(texts: list[str], text: str) -> None:
    slots = "text: {path: $.t, strip_prompt: true}"
    assert of_stream(slots, *({"t": one} for one in texts)).said.text == text


def test_strip_prompt_from_cumulative_texts() -> None:
    slots = "mode: cumulative, text: {path: $.t, strip_prompt: true}"
    for texts in (["hi", "hi a", "hi ab"], ["h", "hi", "hi ab"], [" a", " ab"]):
        assert of_stream(slots, *({"t": one} for one in texts)).said.text == " ab"


def test_trim() -> None:
    assert completed("response: {text: {path: $.t, trim: true}}", {"t": " \n a b \n"}).said.text == "a b"
    stream = of_stream(
        "text: {path: $.t, trim: true}", *({"t": one} for one in (" ", "\n a", " ", "b ", "\n", " "))
    )
    assert stream.said.text == "a b"


def test_trim_comes_behind_the_prompt_and_ahead_of_stop() -> None:
    slots = "text: {path: $.t, trim: true, strip_prompt: true}"
    assert of_stream(slots, {"t": "hi  a"}, {"t": "  \n"}, stop="\n").said.text == "a"


def test_as_json() -> None:
    rules = "response: {text: {path: $.t, as: json}}"
    assert completed(rules, {"t": '"say \\"hi\\""'}).said.text == 'say "hi"'
    assert failed(rules, {"t": "no json"}).code == "upstream_empty"


def test_a_list_of_strings_is_joined() -> None:
    assert completed("response: $.t", {"t": ["a", "b"]}).said.text == "ab"
    assert completed("response: $.all[*].t", {"all": [{"t": "a"}, {"t": "b"}]}).said.text == "ab"
    rules = "response: {text: {path: '$.t', join: ', '}}"
    assert completed(rules, {"t": ["a", "b"]}).said.text == "a, b"


def test_numbers_are_text_and_mappings_are_none() -> None:
    assert completed("response: $.t", {"t": 5}).said.text == "5"
    assert failed("response: $.t", {"t": {"a": "b"}}).code == "upstream_empty"


def test_the_first_source_that_finds_a_value() -> None:
    rules = "response: {text: [$.a, {header: x-text}, {const: none}]}"
    assert completed(rules, {"a": "A"}).said.text == "A"
    assert completed(rules, {"a": None}, headers={"x-text": "H"}).said.text == "H"
    assert completed(rules, {}).said.text == "none"


def test_the_whole_body_may_be_the_text() -> None:
    assert completed("response: $", b"just text").said.text == "just text"
    assert completed("response: $", {}).said.text == "{}"


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
def test_cumulative(texts: list[str], chunks: list[str]) -> None:
    stream = of_stream("mode: cumulative, text: $.t", *({"t": one} for one in texts))
    assert stream.said.chunks == chunks


def test_halves_of_a_surrogate_pair_that_come_apart_are_joined() -> None:
    assert of_stream("text: $.t", {"t": "a\ud83d"}, {"t": "\ude00b"}).said.text == "a😀b"
    assert of_stream("text: $.t", {"t": "a\ud83d"}, {"t": "b"}).said.text == "a\ufffdb"
    assert of_stream("text: $.t", {"t": "a\ud83d"}).said.text == "a\ufffd"
    thoughts = of_stream("text: $.t, reasoning: $.r", {"r": "a\ud83d"}, {"r": "\ude00b\ud83d"}, {"t": "x"})
    assert thoughts.said.reasoning == "a😀b\ufffd"


def test_replace_ends_with_content_filter() -> None:
    frames = [{"t": "bad"}, {"t": " words", "sorry": "Let us not."}, {"t": "more"}]
    stream = of_stream("text: $.t, replace: $.sorry", *frames)
    assert stream.said.text.startswith("bad")
    assert "more" not in stream.said.text
    assert stream.said.finish_reason == "content_filter"
    rules = "response: false\nstream: {framing: ndjson, text: $.t, replace: $.sorry}"
    whole = completed(rules, lines(*frames))
    assert (whole.said.text, whole.said.finish_reason) == ("Let us not.", "content_filter")


def test_what_was_held_back_does_not_come_behind_what_replaces_it() -> None:
    rules = "request: {drop: [stop]}\nresponse: false\nstream: {framing: ndjson, text: $.t, replace: $.sorry}"
    frames = lines({"t": "bad E"}, {"sorry": "Let us not."})
    assert completed(rules, frames, request(stop="END")).said.text == "Let us not."
