"""Tool calls as servers send them: names that come late or in pieces, other shapes, nothing invented."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import (
    bytewise,
    new_exchange,
    pieces_of,
    request,
    run_completion,
    run_failure,
    run_stream,
    sse,
)

CONVERTED = "request: {drop: [stop]}"  # with a `stop`, responses are read into deltas
BARE = "response: {text: $.text, tool_calls: $.calls}\nstream: {text: $.text, tool_calls: $.calls}"
SLOTS = """\
response:
  text: $.text
  tool_calls: {each: $.calls, id: $item.use_id, name: $item.tool, arguments: $item.with}
stream: {text: $.text}
"""

Calls = list[tuple[str, str]]


def _call(index: int, name: str | None = None, arguments: str = "", **more: Any) -> Any:
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    return {"index": index, "function": function, **more}


def _streamed(*parts: Any, converted: bool = False) -> Calls:
    """Return name and arguments of the calls in a stream of OpenAI's, for every split."""
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]} for part in parts]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    rules, body = (CONVERTED, {"stop": "§"}) if converted else ("", None)
    events = sse(*chunks, "data: [DONE]\n\n")
    choice = run_stream(rules, events, body).choice
    assert run_stream(rules, bytewise(events), body).choice == choice
    return _names(choice.tool_calls)


def _names(calls: list[Any]) -> Calls:
    return [(call["name"], call["arguments"]) for call in calls]


@pytest.mark.parametrize("converted", [False, True])
@pytest.mark.parametrize(
    ("parts", "calls"),
    [
        ([_call(0, id="a"), _call(0, None, '{"p":'), _call(0, "read", "1}")], [("read", '{"p":1}')]),
        ([_call(0, "", id="a"), _call(0, "read"), _call(0, None, "{}")], [("read", "{}")]),
        ([_call(0, "re", id="a"), _call(0, "ad"), _call(0, None, "{}")], [("read", "{}")]),
        ([_call(0, "", id="a"), _call(0, "re"), _call(0, "ad_"), _call(0, "x", "{}")], [("read_x", "{}")]),
        ([_call(0, "f", "{", id="a"), _call(0, "f", "}", id="a"), _call(0, "f")], [("f", "{}")]),
        ([_call(0, "f", "{}", id="a"), _call(0, "g", "{}", id="b")], [("f", "{}"), ("g", "{}")]),
        ([_call(0, "f", "{}"), _call(0, "g", "{}")], [("f", "{}"), ("g", "{}")]),
        ([_call(0, id="a"), _call(1, "g", "{}", id="b"), _call(0, "f", "{}")], [("g", "{}"), ("f", "{}")]),
        ([_call(0, "f", "null", id="a")], [("f", "{}")]),
        ([_call(0, "f", "nu", id="a"), _call(0, None, "ll")], [("f", "{}")]),
        ([_call(0, "f", id="a")], [("f", "{}")]),
    ],
)
def test_names_and_arguments_in_pieces(parts: list[Any], calls: Calls, converted: bool) -> None:
    """The client gets each name once, however late and in however many pieces the upstream sends the name."""
    assert _streamed(*parts, converted=converted) == calls


@pytest.mark.parametrize("converted", [False, True])
def test_a_call_whose_name_never_arrives_is_an_error(converted: bool) -> None:
    """A call without a name cannot be run."""
    body = {**request(), "stream": True} | ({"stop": "§"} if converted else {})
    exchange = new_exchange(CONVERTED if converted else "", body)
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [_call(0, None, "{}", id="a")]}}]}
    assert simulate(exchange, pieces_of(sse(chunk, "data: [DONE]\n\n"))) == b""
    assert exchange.error is not None
    assert exchange.error.code == "upstream_garbled"


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ({"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"n":1}'}}, '{"n":1}'),
        ({"id": "a", "function": {"name": "f", "arguments": {"n": 1}}}, '{"n":1}'),
        ({"name": "f", "arguments": '{"n":1}'}, '{"n":1}'),
        ({"type": "tool_use", "id": "a", "name": "f", "input": {"n": 1}}, '{"n":1}'),
        ({"name": "f", "parameters": {"n": 1}}, '{"n":1}'),
        ({"function": {"name": "f", "args": {"n": 1}}}, '{"n":1}'),
        ({"name": "f", "args": None}, "{}"),
        ({"name": "f"}, "{}"),
        ({"id": "a", "function": {"name": "f", "arguments": "null"}}, "{}"),
    ],
)
def test_shapes_of_calls(call: Any, arguments: str) -> None:
    """A bare path reads OpenAI's shape, and a name with arguments under four names."""
    body = {"text": "", "calls": [call, call]}
    calls = run_completion(BARE, body).choice.tool_calls
    assert _names(calls) == [("f", arguments)] * 2
    assert len({each["id"] for each in calls}) == 2
    events = sse({**body, "calls": [call | {"index": 0}]})
    assert _names(run_stream(BARE, events).choice.tool_calls) == [("f", arguments)]


@pytest.mark.parametrize(
    ("call", "member"),
    [
        ({"tool_use_id": "t1", "tool": "f", "input": {"p": 1}}, "tool_use_id"),
        ({"functionCall": {"name": "f", "args": {}}}, "functionCall"),
        ({"name": "f", "params": {"p": 1}}, "params"),
        ({"name": "f", "arguments_json": '{"p": 1}'}, "arguments_json"),
        ({"id": "a", "function": {"name": "", "arguments": "{}"}}, "function"),
    ],
)
def test_other_shapes_are_errors_that_name_the_members(call: Any, member: str) -> None:
    """Neither a name nor arguments are invented."""
    error = run_failure(BARE, {"text": "", "calls": [{"name": "g", "input": {}}, call]})
    assert (error.status, error.code) == (502, "upstream_garbled")
    assert "`$.calls`" in error.message
    assert member in error.message


def test_calls_of_openai_completions_are_read_alike() -> None:
    """A forwarded completion has no invented call either."""
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "function": {"arguments": "{}"}}],
    }
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    assert run_failure("", body).code == "upstream_garbled"


def test_slots_of_a_call() -> None:
    """Members of any name are read by slots, streamed or not."""
    calls = [{"use_id": "t1", "tool": "f", "with": {"n": 1}}, {"tool": "g", "with": "{}"}]
    called = run_completion(SLOTS, {"text": "", "calls": calls}).choice.tool_calls
    assert _names(called) == [("f", '{"n":1}'), ("g", "{}")]
    assert called[0]["id"] == "t1"
    assert _names(run_stream(SLOTS, sse({"text": "x"}, {"calls": calls})).choice.tool_calls) == _names(called)


@pytest.mark.parametrize("call", [{"use_id": "t1", "with": {}}, {"tool": "f", "on": {"n": 1}}, {"tool": ""}])
def test_slots_that_find_nothing(call: Any) -> None:
    """A slot without a name, or an item with other members that may be the arguments, is an error."""
    assert run_failure(SLOTS, {"text": "", "calls": [call]}).code == "upstream_garbled"
