"""Streams as servers really write them: rewritten texts, single line ends, raw data, replacements."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import (
    bytewise,
    ndjson,
    new_exchange,
    pieces_of,
    request,
    run_completion,
    run_stream,
    sse,
)

CUMULATIVE = "response: false\nstream: {framing: ndjson, mode: cumulative, text: $.t}"


def _texts(*texts: str) -> list[bytes]:
    return ndjson(*({"t": text} for text in texts))


@pytest.mark.parametrize(
    ("texts", "sent"),
    [
        (["Hello wor", "Hello", "Hello there"], "Hello wor"),
        (["Deep", " teal", ", mostly"], "Deep"),
        (["a", "ab", "xb"], "ab"),
    ],
)
def test_a_rewritten_text_ends_a_stream_and_counts_in_a_completion(texts: list[str], sent: str) -> None:
    """A stream cannot retract text; a gathered response is the last text."""
    for pieces in (_texts(*texts), bytewise(_texts(*texts))):
        stream = run_stream(CUMULATIVE, pieces)
        assert stream.choice.text == sent
        assert stream.error is not None
        assert stream.error["code"] == "upstream_garbled"
        assert "mode: delta" in stream.error["message"]
        assert run_completion(CUMULATIVE, pieces).choice.text == texts[-1]


@pytest.mark.parametrize(
    "texts", [["a", "ab", "\ufffd"], ["a", "ab", "a"], ["a", "ab ", "ab"], ["a", "ab", ""], ["a", "ab", "ab"]]
)
def test_a_shorter_text_that_says_nothing_new_is_no_error(texts: list[str]) -> None:
    """The last text of some upstreams lacks the white space at its end."""
    stream = run_stream(CUMULATIVE, _texts(*texts))
    assert (stream.choice.text.strip(), stream.error) == ("ab", None)


def test_a_gathered_cumulative_stream_is_cut_at_stop_strings() -> None:
    """The last text is cut as any other."""
    texts = _texts("Hel", "Hello END", "Hello END more")
    assert run_completion(CUMULATIVE, texts, request(stop=" END")).choice.text == "Hello"


def _chunk(text: str, finish: str | None = None) -> str:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
    return f"data: {json.dumps(chunk)}\n"


@pytest.mark.parametrize(
    "events",
    [
        [_chunk("Hel"), _chunk("lo"), _chunk("", "stop"), "data: [DONE]\n"],
        [_chunk("Hel"), _chunk("lo"), _chunk("", "stop"), "data: [DONE]\n\n"],
        [_chunk("Hel") + "\n", _chunk("lo"), _chunk("", "stop") + "\n", "data: [DONE]\n\n"],
        [_chunk("Hel"), _chunk("lo"), _chunk("", "stop") + "\n", "[DONE]\n\n"],
        [": ping\n", _chunk("Hel"), _chunk("lo"), _chunk("", "stop")],
    ],
)
@pytest.mark.parametrize(
    "rules", ["", "response: $.choices[0].message.content\nstream: $.choices[0].delta.content"]
)
def test_events_separated_by_one_line_end(events: list[str], rules: str) -> None:
    """Each line of data that is JSON by itself is an event."""
    pieces = sse(*events)
    for each in (pieces, bytewise(pieces)):
        stream = run_stream(rules, each)
        assert (stream.choice.text, stream.choice.finish_reason, stream.error) == ("Hello", "stop", None)


def test_an_error_in_a_line_keeps_the_lines_before() -> None:
    """The text before a failure is sent."""
    events = sse(_chunk("Hel"), 'data: {"error": {"message": "torn"}}\n', _chunk("lo"))
    stream = run_stream("", events)
    assert stream.choice.text == "Hel"
    assert stream.error is not None
    assert stream.error["message"] == "torn"


def test_json_over_several_lines_is_one_event() -> None:
    """The standard joins the lines of an event."""
    pretty = json.dumps({"choices": [{"index": 0, "delta": {"content": "Hi"}}]}, indent=1)
    event = "".join(f"data: {line}\n" for line in pretty.split("\n")) + "\n"
    assert run_stream("", sse(event, "data: [DONE]\n\n")).choice.text == "Hi"


@pytest.mark.parametrize(
    ("data", "events", "text"),
    [
        ("raw", ["data:La\n\n", "data: frase\n\n", "data: st\n\n", "data:ai\n\n"], "La frase stai"),
        ("raw", ["data:  two\n\n", "data:\n\n", "data:end\n\n", "data:[DONE]\n\n"], "  twoend"),
        ("raw", ["data:a\ndata: b\n\n"], "a\n b"),
        ("text", ["data: La\n\n", "data:  frase\n\n"], "La frase"),
    ],
)
def test_raw_data_keeps_its_spaces(data: str, events: list[str], text: str) -> None:
    """Servers that send no space after the colon send tokens that begin with spaces."""
    rules = f"response: false\nstream: {{data: {data}, text: $}}"
    assert run_completion(rules, sse(*events)).choice.text == text
    assert run_stream(rules, bytewise(sse(*events))).choice.text == text


REPLACE = "response: false\nstream: {framing: ndjson, text: $.t, replace: $.r}"


def test_a_replacement_before_any_text_is_the_text() -> None:
    """There is nothing to retract, and more text may follow."""
    frames = ndjson({"r": "Hello"}, {"t": " there"})
    for pieces in (frames, bytewise(frames)):
        stream = run_stream(REPLACE, pieces)
        assert (stream.choice.text, stream.choice.finish_reason) == ("Hello there", "stop")
    assert run_completion(REPLACE, frames).choice.text == "Hello there"


def test_a_replacement_after_text_ends_a_stream() -> None:
    """A completion has the new text, and what follows."""
    frames: list[Any] = ndjson({"t": "bad"}, {"r": "Hello"}, {"t": " there"})
    stream = run_stream(REPLACE, frames)
    assert (stream.choice.text, stream.choice.finish_reason) == ("bad", "content_filter")
    assert run_completion(REPLACE, frames).choice.text == "Hello there"


def test_a_stream_of_only_invalid_lines_is_an_error() -> None:
    """Lines that are not JSON stay one frame that is not JSON."""
    exchange = new_exchange("", {**request(), "stream": True})
    assert simulate(exchange, pieces_of(sse("data: {\ndata: [DONE]\n\n"))) == b""
    assert exchange.error is not None
    assert exchange.error.code == "upstream_garbled"
