"""Calls of tools and token counts in streams, in the forms that servers give them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.openai.sample_bodies import (
    DONE,
    TEXT,
    USAGE,
    choice,
    chunk,
    event,
    events,
    forward,
    normalize_stream,
    standard_chunks,
)

EVENTS = [*map(event, standard_chunks(usage=True)), DONE]
STANDARD = "".join(EVENTS)

NAMELESS = {"name": None, "arguments": '{"a":1}'}


def tool_chunk(*calls: Any) -> dict[str, Any]:
    return chunk({"tool_calls": list(calls)})


def function(arguments: Any = None, name: str | None = None) -> dict[str, Any]:
    found = {"name": name, "arguments": arguments}
    return {"function": {key: value for key, value in found.items() if value is not None}}


@pytest.mark.parametrize(
    "chunks",
    [
        # without index
        [
            tool_chunk({"id": "a", **function("", "pick")}),
            tool_chunk(function('{"a":')),
            tool_chunk(function("1}")),
        ],
        # id, type and name in every piece
        [
            tool_chunk({"index": 0, "id": "a", "type": "function", **function('{"a":', "pick")}),
            tool_chunk({"index": 0, "id": "a", "type": "function", **function("1}", "pick")}),
        ],
        # arguments as an object
        [tool_chunk({"index": 0, "id": "a", "type": "function", **function({"a": 1}, "pick")})],
        # no id, no type
        [tool_chunk({"index": 0, **function('{"a":1}', "pick")})],
        # an id that is a number, and an index that counts from 1
        [
            tool_chunk({"index": 1, "id": 5, **function('{"a":', "pick")}),
            tool_chunk({"index": 1, **function("1}")}),
        ],
        # null where nothing more is said
        [
            tool_chunk({"index": 0, "id": "a", "type": "function", **function("", "pick")}),
            tool_chunk({"index": 0, "id": None, "type": None, "function": NAMELESS}),
            tool_chunk({"index": 0, "function": {"arguments": None}}),
        ],
        # one call in place of a list of them
        [chunk({"tool_calls": {"id": "a", **function('{"a":1}', "pick")}})],
        # a name beside the id
        [tool_chunk({"id": "a", "name": "pick", "arguments": {"a": 1}})],
        # half of it is nonsense
        [tool_chunk(None, "x", {"index": 0.0, "id": "a", "type": "", **function('{"a":1}', "pick")})],
    ],
)
def test_calls_of_tools(chunks: list[dict[str, Any]]) -> None:
    for finish in ([chunk({}, "tool_calls")], []):
        stream = normalize_stream(events(*chunks, *finish))
        [call] = stream.choice.tool_calls
        assert call["name"] == "pick"
        assert call["arguments"].replace(" ", "") == '{"a":1}'
        assert call["id"]
        assert stream.choice.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "pieces",
    [
        [{"id": "a", **function("{}", "f")}, {"id": "b", **function("{}", "g")}],
        [{"index": 0, "id": "a", **function("{}", "f")}, {"index": 0, "id": "b", **function("{}", "g")}],
        [{"index": 3, "id": "a", **function("{}", "f")}, {"index": 7, "id": "b", **function("{}", "g")}],
        [function("{}", "f"), function("{}", "g")],
        [{"index": 0, **function("{}", "f")}, {"index": 1, **function("{}", "g")}],
    ],
)
def test_several_calls_of_tools(pieces: list[dict[str, Any]]) -> None:
    together, apart = events(tool_chunk(*pieces)), events(*map(tool_chunk, pieces))
    for data in (together, apart):
        calls = normalize_stream(data).choice.tool_calls
        assert [(call["name"], call["arguments"]) for call in calls] == [("f", "{}"), ("g", "{}")]
        assert len({call["id"] for call in calls}) == 2


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"prompt_tokens": 21.0, "completion_tokens": 5.0, "total_tokens": 26.0}, USAGE),
        ({"prompt_tokens": 21, "completion_tokens": 5}, USAGE),
        ({"completion_tokens": "5"}, {"prompt_tokens": 0, "completion_tokens": 5, "total_tokens": 5}),
        ({}, None),
        ([], None),
        ([1], None),
        ("none", None),
        (7, None),
    ],
)
def test_usage_in_other_forms(usage: Any, told: Any) -> None:
    stream = normalize_stream(events(*standard_chunks(), {**chunk(), "choices": [], "usage": usage}))
    assert (stream.choice.text, stream.usage) == (TEXT, told)


def test_usage_in_chunks_that_have_choices() -> None:
    chunks = [{**one, "usage": {**USAGE, "completion_tokens": n}} for n, one in enumerate(standard_chunks())]
    assert normalize_stream(events(*chunks)).usage == {**USAGE, "completion_tokens": len(chunks) - 1}
    inside = {**chunk(), "choices": [choice({}, "stop", usage=USAGE)]}
    assert normalize_stream(events(*standard_chunks()[:-1], inside)).usage == USAGE


@pytest.mark.parametrize("usage", [True, [], "none", 5])
@pytest.mark.parametrize("asked", [True, False])
def test_usage_that_is_none_in_chunks_that_have_choices(usage: Any, asked: bool) -> None:
    stream = normalize_stream(events(*({**one, "usage": usage} for one in standard_chunks())), usage=asked)
    assert (stream.choice.text, stream.usage) == (TEXT, None)
    assert b'"usage":null' in forward(event({**chunk({"content": "a"}, "stop"), "usage": usage}), stream=True)


def test_usage_nobody_asked_for() -> None:
    assert normalize_stream(STANDARD, usage=False).usage is None


def test_usage_ahead_of_the_end() -> None:
    chunks = standard_chunks(usage=True)
    assert normalize_stream(events(chunks[0], chunks[-1], *chunks[1:-1])).usage == USAGE
