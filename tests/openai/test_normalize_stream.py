"""Normalized streams: nearly-OpenAI streams become streams that strict clients accept."""

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
    return events(
        *({key: value for key, value in standard.items() if key != name} for standard in standard_chunks())
    )


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
def test_other_spellings_of_events_are_read(data: str) -> None:
    stream = normalize_stream(data)
    assert (stream.choice.text, stream.choice.finish_reason, stream.error) == (TEXT, "stop", None)
    assert stream.choice.chunks == WORDS
    assert stream.usage == USAGE


def test_json_may_span_several_data_lines() -> None:
    data = STANDARD.replace('"choices"', '\ndata: "choices"')
    assert normalize_stream(data).choice.text == TEXT


@pytest.mark.parametrize("name", ["id", "created", "object", "model"])
def test_missing_members_of_chunks_are_added(name: str) -> None:
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
def test_invalid_members_of_chunks_are_replaced(more: dict[str, Any]) -> None:
    stream = normalize_stream(events(*({**standard, **more} for standard in standard_chunks())))
    assert (stream.choice.text, stream.error) == (TEXT, None)


def test_id_created_and_model_are_those_of_the_first_chunk() -> None:
    chunks = [
        {**standard, "id": f"c-{number}", "created": 1763600000 + number, "model": f"m-{number}"}
        for number, standard in enumerate(standard_chunks())
    ]
    stream = normalize_stream(events(*chunks))
    assert (stream.id, stream.created, stream.model) == ("c-0", 1763600000, "m-0")
    assert stream.choice.text == TEXT


def test_repeated_roles_are_removed() -> None:
    chunks = [chunk({"role": "assistant", "content": word}) for word in WORDS]
    stream = normalize_stream(events(*chunks, chunk({"role": "assistant"}, "stop")))
    assert (stream.choice.role, stream.choice.chunks) == ("assistant", WORDS)


@pytest.mark.parametrize(
    "delta", [{"content": "hi"}, {"role": None, "content": "hi"}, {"role": "", "content": "hi"}]
)
def test_a_missing_role_becomes_assistant(delta: dict[str, Any]) -> None:
    stream = normalize_stream(events(chunk(delta), chunk({"content": "!"}), chunk({}, "stop")))
    assert (stream.choice.role, stream.choice.text) == ("assistant", "hi!")


def test_a_finish_reason_without_a_delta_is_read() -> None:
    data = events(chunk({"content": "hi"}), {**chunk(), "choices": [{"index": 0, "finish_reason": "length"}]})
    assert normalize_stream(data).choice.finish_reason == "length"


@pytest.mark.parametrize("again", ["stop", "length", "strange"])
def test_a_second_finish_reason_is_dropped(again: str) -> None:
    for late in ({}, {"content": ""}, {"role": "assistant", "content": ""}):
        stream = normalize_stream(events(*standard_chunks(), chunk(late, again), chunk(late, again)))
        assert (stream.choice.text, stream.choice.finish_reason) == (TEXT, "stop")


def test_a_finish_reason_in_every_chunk_is_moved_to_the_end() -> None:
    stream = normalize_stream(events(*(chunk({"content": word}, "stop") for word in WORDS)))
    assert (stream.choice.text, stream.choice.finish_reason) == (TEXT, "stop")
    stream = normalize_stream(
        events(*(chunk({"content": word}, "length") for word in WORDS), chunk({}, "length"))
    )
    assert (stream.choice.text, stream.choice.finish_reason) == (TEXT, "length")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [("eos_token", "stop"), ("end_turn", "stop"), ("length", "length"), (1, "stop"), (True, "stop")],
)
def test_unknown_finish_reasons_become_stop(sent: Any, reason: str) -> None:
    stream = normalize_stream(events(*standard_chunks()[:-1], chunk({}, sent)))
    assert stream.choice.finish_reason == reason


@pytest.mark.parametrize("blank", ["", "null", "None", False])
def test_blank_finish_reasons_count_as_missing(blank: Any) -> None:
    stream = normalize_stream(events(*(chunk({"content": word}, blank) for word in WORDS)))
    assert (stream.choice.text, stream.choice.finish_reason) == (TEXT, "stop")
    assert (
        normalize_stream(events(chunk({"content": "hi"}, blank), chunk({}, "length"))).choice.finish_reason
        == "length"
    )


def test_a_missing_finish_reason_is_added_before_done() -> None:
    stream = normalize_stream(events(*standard_chunks()[:-1]))
    assert (stream.choice.finish_reason, stream.error) == ("stop", None)
    assert [each.finish_reason for each in normalize_stream(events(*two_choices())).choices.values()] == [
        "stop",
        "stop",
    ]


def two_choices(**more: Any) -> list[dict[str, Any]]:
    return [{**chunk(), "choices": [choice({"content": f"{n}"}, index=n, **more)]} for n in (0, 1)]


def test_missing_indexes_are_the_positions_of_choices() -> None:
    bare = {**chunk(), "choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}
    stream = normalize_stream(events(bare, bare))
    assert {index: each.text for index, each in stream.choices.items()} == {0: "aa", 1: "bb"}


def test_a_stream_without_finish_and_done_is_truncated() -> None:
    stream = normalize_stream("".join(map(event, standard_chunks()[:-1])))
    assert stream.choice.text == TEXT
    assert stream.error is not None


def test_a_first_chunk_without_choices_changes_nothing() -> None:
    """Azure sends its assessment of the prompt in such a chunk."""
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": []}
    assert normalize_stream(event(first) + STANDARD).choice.text == TEXT


def test_chunks_without_a_delta_are_skipped() -> None:
    """Azure's content filter sends such chunks before the text and after its end."""
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
def test_an_error_after_output_ends_the_stream(late: str, message: str) -> None:
    stream = normalize_stream("".join(EVENTS[:3]) + late + "".join(EVENTS[3:]))
    assert stream.choice.text == "Deep teal"
    assert stream.error is not None
    assert message in stream.error["message"]


@pytest.mark.parametrize("prefix", ["", ": ping\n\n", EVENTS[0], event({"choices": []})])
def test_an_error_before_output_keeps_its_status(prefix: str) -> None:
    sent = {"error": {"message": "busy", "type": "overloaded", "param": None, "code": "x"}}
    error = run_failure(OPENAI, prefix + event(sent), request(stream=True))
    assert (error.status, error.envelope) == (502, sent)


def test_a_json_error_with_status_200_is_an_error() -> None:
    sent = '{"error": {"message": "no", "type": "t", "param": null, "code": null}}'
    for body in (request(stream=True), request()):
        error = run_failure(OPENAI, sent, body)
        assert (error.status, error.message) == (502, "no")


def test_a_completion_in_place_of_a_stream_is_streamed() -> None:
    body = event(completion())
    for data in (body.removeprefix("data: "), body, body + DONE):
        stream = normalize_stream(data)
        assert (stream.choice.text, stream.choice.finish_reason) == (TEXT, "stop")
        assert stream.usage == USAGE


@pytest.mark.parametrize("data", ["", DONE, event({**chunk(), "choices": []}) + DONE, event(chunk()) + DONE])
def test_a_stream_without_output_is_an_error(data: str) -> None:
    assert run_failure(OPENAI, data, request(stream=True)).status == 502
