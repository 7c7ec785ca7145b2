"""Tool calls and token counts of normalized streams, in the shapes that servers send."""

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
    members = {"name": name, "arguments": arguments}
    return {"function": {key: value for key, value in members.items() if value is not None}}


@pytest.mark.parametrize(
    "chunks",
    [
        # without index
        [
            tool_chunk({"id": "a", **function("", "pick")}),
            tool_chunk(function('{"a":')),
            tool_chunk(function("1}")),
        ],
        # id, type and name in every fragment
        [
            tool_chunk({"index": 0, "id": "a", "type": "function", **function('{"a":', "pick")}),
            tool_chunk({"index": 0, "id": "a", "type": "function", **function("1}", "pick")}),
        ],
        # arguments as an object
        [tool_chunk({"index": 0, "id": "a", "type": "function", **function({"a": 1}, "pick")})],
        # no id, no type
        [tool_chunk({"index": 0, **function('{"a":1}', "pick")})],
        # a number as id, and an index that starts at 1
        [
            tool_chunk({"index": 1, "id": 5, **function('{"a":', "pick")}),
            tool_chunk({"index": 1, **function("1}")}),
        ],
        # null in place of unchanged members
        [
            tool_chunk({"index": 0, "id": "a", "type": "function", **function("", "pick")}),
            tool_chunk({"index": 0, "id": None, "type": None, "function": NAMELESS}),
            tool_chunk({"index": 0, "function": {"arguments": None}}),
        ],
        # one call in place of a list
        [chunk({"tool_calls": {"id": "a", **function('{"a":1}', "pick")}})],
        # a name beside the id
        [tool_chunk({"id": "a", "name": "pick", "arguments": {"a": 1}})],
        # invalid fragments among valid ones
        [tool_chunk(None, "x", {"index": 0.0, "id": "a", "type": "", **function('{"a":1}', "pick")})],
    ],
)
def test_a_tool_call_is_normalized(chunks: list[dict[str, Any]]) -> None:
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
def test_several_tool_calls_are_separated(pieces: list[dict[str, Any]]) -> None:
    together, separate = events(tool_chunk(*pieces)), events(*map(tool_chunk, pieces))
    for data in (together, separate):
        calls = normalize_stream(data).choice.tool_calls
        assert [(call["name"], call["arguments"]) for call in calls] == [("f", "{}"), ("g", "{}")]
        assert len({call["id"] for call in calls}) == 2


@pytest.mark.parametrize(
    ("usage", "expected"),
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
def test_usage_is_normalized_or_removed(usage: Any, expected: Any) -> None:
    stream = normalize_stream(events(*standard_chunks(), {**chunk(), "choices": [], "usage": usage}))
    assert (stream.choice.text, stream.usage) == (TEXT, expected)


def test_usage_beside_choices_is_moved_to_the_end() -> None:
    chunks = [
        {**standard, "usage": {**USAGE, "completion_tokens": n}}
        for n, standard in enumerate(standard_chunks())
    ]
    assert normalize_stream(events(*chunks)).usage == {**USAGE, "completion_tokens": len(chunks) - 1}
    inside = {**chunk(), "choices": [choice({}, "stop", usage=USAGE)]}
    assert normalize_stream(events(*standard_chunks()[:-1], inside)).usage == USAGE


@pytest.mark.parametrize("usage", [True, [], "none", 5])
@pytest.mark.parametrize("requested", [True, False])
def test_invalid_usage_beside_choices_becomes_null(usage: Any, requested: bool) -> None:
    stream = normalize_stream(
        events(*({**standard, "usage": usage} for standard in standard_chunks())), usage=requested
    )
    assert (stream.choice.text, stream.usage) == (TEXT, None)
    assert b'"usage":null' in forward(event({**chunk({"content": "a"}, "stop"), "usage": usage}), stream=True)


def test_unrequested_usage_is_removed() -> None:
    assert normalize_stream(STANDARD, usage=False).usage is None


def test_early_usage_is_moved_to_the_end() -> None:
    chunks = standard_chunks(usage=True)
    assert normalize_stream(events(chunks[0], chunks[-1], *chunks[1:-1])).usage == USAGE
