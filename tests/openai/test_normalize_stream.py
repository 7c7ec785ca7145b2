"""Streams of servers that nearly speak OpenAI's language become streams that strict clients read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exchange.single_exchange import request, run_failure
from tests.openai.sample_bodies import (
    DONE,
    OPENAI,
    TEXT,
    USAGE,
    WORDS,
    choice,
    chunk,
    completion,
    event,
    events,
    normalize_stream,
    standard_chunks,
)

EVENTS = [*map(event, standard_chunks(usage=True)), DONE]
STANDARD = "".join(EVENTS)


def without(name: str) -> str:
    return events(*({key: value for key, value in one.items() if key != name} for one in standard_chunks()))


@pytest.mark.parametrize(
    "data",
    [
        STANDARD,
        STANDARD.removesuffix(DONE),
        STANDARD.replace("\n", "\r\n"),
        STANDARD.replace("\n", "\r"),
        STANDARD.replace("data: ", "data:"),
        ": ping\n\n" + STANDARD.replace("data: {", ": ping\n\ndata: {"),
        "event: open\n\nid: 7\n\n" + STANDARD + "event: close\n\n",
        STANDARD.replace("data: {", "event: message\nid: 3\ndata: {"),
        STANDARD.removesuffix("\n\n"),
        STANDARD.removesuffix(DONE).removesuffix("\n\n"),
        "\ufeff" + STANDARD,
        "\n\n" + STANDARD.replace("\n\n", "\n\n\n"),
        STANDARD + DONE + "data: late\n\n",
    ],
)
def test_streams_written_otherwise(data: str) -> None:
    stream = normalize_stream(data)
    assert (stream.choice.text, stream.choice.finish_reason, stream.error) == (TEXT, "stop", None)
    assert stream.choice.chunks == WORDS
    assert stream.usage == USAGE


def test_json_over_several_lines() -> None:
    data = STANDARD.replace('"choices"', '\ndata: "choices"')
    assert normalize_stream(data).choice.text == TEXT


@pytest.mark.parametrize("name", ["id", "created", "object", "model"])
def test_what_a_chunk_lacks(name: str) -> None:
    stream = normalize_stream(without(name))
    assert (stream.choice.text, stream.error) == (TEXT, None)
    assert stream.object == "chat.completion.chunk"
    assert stream.model == ("m" if name == "model" else "demo")


@pytest.mark.parametrize(
    "more",
    [
        {"id": 17}, {"id": ""}, {"id": None}, {"created": 1763600000.25}, {"created": "now"}, {"created": 0},
        {"created": None}, {"created": True}, {"object": "chat.completion"}, {"object": ""}, {"model": ""},
        {"model": None}, {"model": 4}, {"error": None}, {"error": ""},
    ],
)  # fmt: skip
def test_what_a_chunk_has_in_another_form(more: dict[str, Any]) -> None:
    stream = normalize_stream(events(*({**one, **more} for one in standard_chunks())))
    assert (stream.choice.text, stream.error) == (TEXT, None)


def test_what_changes_between_chunks() -> None:
    chunks = [
        {**one, "id": f"c-{number}", "created": 1763600000 + number, "model": f"m-{number}"}
        for number, one in enumerate(standard_chunks())
    ]
    stream = normalize_stream(events(*chunks))
    assert (stream.id, stream.created, stream.model) == ("c-0", 1763600000, "m-0")
    assert stream.choice.text == TEXT


def test_a_role_in_every_delta() -> None:
    chunks = [chunk({"role": "assistant", "content": word}) for word in WORDS]
    stream = normalize_stream(events(*chunks, chunk({"role": "assistant"}, "stop")))
    assert (stream.choice.role, stream.choice.chunks) == ("assistant", WORDS)


@pytest.mark.parametrize(
    "delta", [{"content": "hi"}, {"role": None, "content": "hi"}, {"role": "", "content": "hi"}]
)
def test_no_role_at_all(delta: dict[str, Any]) -> None:
    stream = normalize_stream(events(chunk(delta), chunk({"content": "!"}), chunk({}, "stop")))
    assert (stream.choice.role, stream.choice.text) == ("assistant", "hi!")


def test_a_finish_without_anything_else() -> None:
    data = events(chunk({"content": "hi"}), {**chunk(), "choices": [{"index": 0, "finish_reason": "length"}]})
    assert normalize_stream(data).choice.finish_reason == "length"


@pytest.mark.parametrize("again", ["stop", "length", "strange"])
def test_a_second_finish(again: str) -> None:
    for late in ({}, {"content": ""}, {"role": "assistant", "content": ""}):
        stream = normalize_stream(events(*standard_chunks(), chunk(late, again), chunk(late, again)))
        assert (stream.choice.text, stream.choice.finish_reason) == (TEXT, "stop")


def test_a_finish_in_every_chunk() -> None:
    stream = normalize_stream(events(*(chunk({"content": word}, "stop") for word in WORDS)))
    assert (stream.choice.text, stream.choice.finish_reason) == (TEXT, "stop")
    stream = normalize_stream(
        events(*(chunk({"content": word}, "length") for word in WORDS), chunk({}, "length"))
    )
    assert (stream.choice.text, stream.choice.finish_reason) == (TEXT, "length")


@pytest.mark.parametrize(
    ("found", "reason"),
    [("eos_token", "stop"), ("end_turn", "stop"), ("length", "length"), (1, "stop"), (True, "stop")],
)
def test_unknown_finishes(found: Any, reason: str) -> None:
    stream = normalize_stream(events(*standard_chunks()[:-1], chunk({}, found)))
    assert stream.choice.finish_reason == reason


@pytest.mark.parametrize("blank", ["", "null", "None", False])
def test_blank_finishes(blank: Any) -> None:
    stream = normalize_stream(events(*(chunk({"content": word}, blank) for word in WORDS)))
    assert (stream.choice.text, stream.choice.finish_reason) == (TEXT, "stop")
    assert (
        normalize_stream(events(chunk({"content": "hi"}, blank), chunk({}, "length"))).choice.finish_reason
        == "length"
    )


def test_no_finish() -> None:
    stream = normalize_stream(events(*standard_chunks()[:-1]))
    assert (stream.choice.finish_reason, stream.error) == ("stop", None)
    assert [said.finish_reason for said in normalize_stream(events(*several())).choices.values()] == [
        "stop",
        "stop",
    ]


def several(**more: Any) -> list[dict[str, Any]]:
    return [{**chunk(), "choices": [choice({"content": f"{n}"}, index=n, **more)]} for n in (0, 1)]


def test_no_index() -> None:
    bare = {**chunk(), "choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}
    stream = normalize_stream(events(bare, bare))
    assert {index: said.text for index, said in stream.choices.items()} == {0: "aa", 1: "bb"}


def test_neither_finish_nor_done_is_a_stream_that_was_cut_short() -> None:
    stream = normalize_stream("".join(map(event, standard_chunks()[:-1])))
    assert stream.choice.text == TEXT
    assert stream.error is not None


def test_empty_choices_first() -> None:
    """As Azure tells what it thinks of the prompt."""
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": []}
    assert normalize_stream(event(first) + STANDARD).choice.text == TEXT


def test_annotations_without_delta() -> None:
    """As Azure's content filter sends, ahead of the words and behind their end."""
    note = {
        **chunk(),
        "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {"start_offset": 1}}],
    }
    stream = normalize_stream(events(note, *standard_chunks()[:3], note, *standard_chunks()[3:], note))
    assert (stream.choice.text, stream.choice.finish_reason, stream.error) == (TEXT, "stop", None)


@pytest.mark.parametrize(
    ("late", "message"),
    [
        ('data: {"error": {"message": "died", "code": "upstream"}}\n\n', "died"),
        ('data: {"error": "died"}\n\n', "died"),
        ('event: error\ndata: {"message": "died"}\n\n', "died"),
        ("event: error\ndata: died\n\n", "died"),
        ('{"error": {"message": "died"}}', "died"),
        ('data: {"choices": [{"delta": {"content": ""}}], "error": {"message": "died"}}\n\n', "died"),
        ("data: {oops\n\n", "{oops"),
    ],
)
def test_errors_on_the_way(late: str, message: str) -> None:
    stream = normalize_stream("".join(EVENTS[:3]) + late + "".join(EVENTS[3:]))
    assert stream.choice.text == "Deep teal"
    assert stream.error is not None
    assert message in stream.error["message"]


@pytest.mark.parametrize("ahead", ["", ": ping\n\n", EVENTS[0], event({"choices": []})])
def test_an_error_at_first_keeps_its_status(ahead: str) -> None:
    told = {"error": {"message": "busy", "type": "overloaded", "param": None, "code": "x"}}
    error = run_failure(OPENAI, ahead + event(told), request(stream=True))
    assert (error.status, error.envelope) == (502, told)


def test_an_error_as_json_under_200() -> None:
    told = '{"error": {"message": "no", "type": "t", "param": null, "code": null}}'
    for body in (request(stream=True), request()):
        error = run_failure(OPENAI, told, body)
        assert (error.status, error.message) == (502, "no")


def test_a_completion_where_a_stream_was_promised() -> None:
    body = event(completion())
    for data in (body.removeprefix("data: "), body, body + DONE):
        stream = normalize_stream(data)
        assert (stream.choice.text, stream.choice.finish_reason) == (TEXT, "stop")
        assert stream.usage == USAGE


@pytest.mark.parametrize("data", ["", DONE, event({**chunk(), "choices": []}) + DONE, event(chunk()) + DONE])
def test_a_stream_that_says_nothing_is_an_error(data: str) -> None:
    assert run_failure(OPENAI, data, request(stream=True)).status == 502
