"""Tool calls in upstream responses, valid and malformed."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.deltas import ToolCallFragment
from bridge.core.errors import UpstreamError
from bridge.exchange.dry_run import simulate
from bridge.openai.tool_calls import ToolCallAssembler
from bridge.tool_formats import TOOL_FORMATS
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
from tests.tool_formats.sample_responses import SERVERS, event_stream


def _begin(index: int, name: str, **block: Any) -> Any:
    content = {"type": "tool_use", "id": f"t{index}", "name": name, "input": {}, **block}
    return {"type": "content_block_start", "index": index, "content_block": content}


def _input(index: int, text: str) -> Any:
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "input_json_delta", "partial_json": text},
    }


def _stop(index: int) -> Any:
    return {"type": "content_block_stop", "index": index}


END = {"type": "message_stop"}


def _called(*events: Any) -> list[tuple[str, str]]:
    """Return name and arguments of the tool calls in a stream of Anthropic's, for every split."""
    rules, frames = SERVERS["anthropic"].rules, sse(*events)
    choice = run_stream(rules, frames).choice
    assert run_stream(rules, bytewise(frames)).choice == choice
    assert choice.finish_reason == "tool_calls"
    return [(call["name"], call["arguments"]) for call in choice.tool_calls]


def test_a_call_without_input_has_empty_arguments() -> None:
    assert _called(_begin(0, "stir"), _stop(0), END) == [("stir", "{}")]
    assert _called(_begin(0, "stir"), _input(0, ""), _stop(0), END) == [("stir", "{}")]


def test_empty_arguments_are_sent_before_the_next_call() -> None:
    """Clients treat a call as complete when the next call starts."""
    events = [_begin(1, "stir"), _stop(1), _begin(2, "pick"), _input(2, '{"n":1}'), _stop(2)]
    calls, deltas = ToolCallAssembler("x"), []
    for event in events:
        deltas += calls.add(list(TOOL_FORMATS["anthropic"].read_calls(event)))
    assert [(delta["index"], delta["function"]["arguments"]) for delta in deltas] == [
        (0, ""), (0, "{}"), (1, ""), (1, '{"n":1}'),
    ]  # fmt: skip
    assert calls.close() is None


def test_input_in_the_start_of_a_block_is_read() -> None:
    complete = _begin(0, "pick", input={"n": 1})
    assert _called(complete, _stop(0), END) == [("pick", '{"n":1}')]
    assert _called(complete, END) == [("pick", '{"n":1}')]
    assert _called(complete, _input(0, '{"n":1}'), _stop(0), END) == [("pick", '{"n":1}')]


def test_interleaved_blocks_are_separated() -> None:
    events = [_begin(1, "a"), _begin(2, "b"), _input(2, "{"), _input(1, '{"x":1}'), _input(2, "}"), END]
    assert _called(*events) == [("a", '{"x":1}'), ("b", "{}")]


def test_server_tools_are_not_tool_calls() -> None:
    search = _begin(0, "web_search", type="server_tool_use")
    events = [search, _input(0, '{"query":"x"}'), _stop(0), _begin(1, "pick"), _input(1, "{}"), _stop(1), END]
    assert _called(*events) == [("pick", "{}")]


def test_input_after_the_end_of_a_block_is_dropped() -> None:
    events = [_begin(0, "stir"), _stop(0), _input(0, '{"n":1}'), _stop(0), END]
    assert _called(*events) == [("stir", "{}")]


def test_a_reused_index_is_another_call() -> None:
    events = [_begin(0, "a"), _input(0, "{}"), _begin(0, "b", id="t9"), _input(0, '{"n":1}'), END]
    assert _called(*events) == [("a", "{}"), ("b", '{"n":1}')]


def test_calls_with_one_id_get_distinct_ids() -> None:
    calls = [{"id": "same", "function": {"name": "pick", "arguments": {"n": n}}} for n in range(2)]
    rules = SERVERS["ollama"].rules
    line = {"message": {"content": "", "tool_calls": calls}, "done": True}
    for choice in (run_completion(rules, line).choice, run_stream(rules, ndjson(line)).choice):
        assert [call["arguments"] for call in choice.tool_calls] == ['{"n":0}', '{"n":1}']
        assert len({call["id"] for call in choice.tool_calls}) == 2


def test_ids_and_indexes_of_newer_ollamas_are_read() -> None:
    function = {"index": 0, "name": "pick", "arguments": {"n": 1}}
    line = {"message": {"content": "", "tool_calls": [{"id": "c7", "function": function}]}, "done": True}
    [call] = run_completion(SERVERS["ollama"].rules, line).choice.tool_calls
    assert call == {"id": "c7", "name": "pick", "arguments": '{"n":1}'}


def test_gemini_may_omit_args_and_send_ids() -> None:
    parts = [
        {"functionCall": {"name": "stir"}},
        {"functionCall": {"id": "g1", "name": "pick", "args": {"n": 1}}, "thoughtSignature": "sig=="},
    ]
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    complete = run_completion(SERVERS["gemini"].rules, body).choice.tool_calls
    assert [call["arguments"] for call in complete] == ["{}", '{"n":1}']
    assert complete[1]["id"] == "g1"
    body = json.loads(simulate(new_exchange(SERVERS["gemini"].rules), pieces_of(body)))
    first, second = body["choices"][0]["message"]["tool_calls"]
    assert second["extra_content"] == {"google": {"thought_signature": "sig=="}}
    assert "extra_content" not in first


def test_each_choice_has_its_own_calls() -> None:
    def candidate(index: int) -> Any:
        call = {"functionCall": {"name": "pick", "args": {"n": index}}}
        return {"index": index, "content": {"parts": [call]}, "finishReason": "STOP"}

    body = {"candidates": [candidate(0), candidate(1)]}
    rules = SERVERS["gemini"].rules.replace("toolConfig:", "count: $.n\n            toolConfig:")
    choices = run_completion(rules, body, request(n=2)).choices
    assert [choice.tool_calls[0]["arguments"] for choice in choices.values()] == ['{"n":0}', '{"n":1}']
    assert len({choice.tool_calls[0]["id"] for choice in choices.values()}) == 2


def test_a_rule_for_tool_calls_overrides_the_format() -> None:
    base = "tools: ollama\nrequest: {body: {m: $.messages}}\n"
    own = [{"id": "c", "function": {"name": "own", "arguments": "{}"}}]
    body = {"t": "x", "own": own, "message": {"tool_calls": [{"function": {"name": "theirs"}}]}}
    assert run_completion(base + "response: $.t", body).choice.tool_calls[0]["name"] == "theirs"
    assert run_completion(base + "response: {text: $.t, tool_calls: $.own}", body).choice.tool_calls == [
        {"id": "c", "name": "own", "arguments": "{}"}
    ]
    assert run_completion(base + "response: {text: $.t, tool_calls: null}", body).choice.tool_calls == []
    inherited = "response: {text: $.t, tool_calls: null}\nstream: {framing: ndjson}"
    assert run_stream(base + inherited, ndjson(body)).choice.tool_calls == []
    disabled = "response: $.t\nstream: {framing: ndjson, tool_calls: null}"
    assert run_stream(base + disabled, ndjson(body)).choice.tool_calls == []


def test_a_stream_that_ends_within_a_call_is_an_error() -> None:
    rules = SERVERS["anthropic"].rules
    stream = run_stream(rules, sse(_begin(0, "pick"), _input(0, '{"n":')))
    assert stream.error is not None
    assert stream.choice.tool_calls[0]["arguments"] == '{"n":'


def test_the_end_of_a_text_block_of_bedrock_is_not_a_call() -> None:
    rules = SERVERS["bedrock"].rules
    frames = [
        event_stream("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "x"}}),
        event_stream("contentBlockStop", {"contentBlockIndex": 0}),
        event_stream("messageStop", {"stopReason": "end_turn"}),
    ]
    choice = run_stream(rules, frames).choice
    assert (choice.text, choice.tool_calls, choice.finish_reason) == ("x", [], "stop")


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(
        ["", "x", "tool_use", "content_block_start", "content_block_delta", "content_block_stop",
         "input_json_delta", "tool-call-start", "tool-call-delta", "tool-call-end"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["message", "tool_calls", "function", "name", "arguments", "id", "index", "type", "content",
             "content_block", "delta", "partial_json", "input", "start", "toolUse", "toolUseId", "output",
             "contentBlockIndex", "candidates", "parts", "functionCall", "args", "thoughtSignature"]
        ),
        inner, max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@pytest.mark.parametrize("name", TOOL_FORMATS)
@given(frames=st.lists(ODD, max_size=6))
def test_any_frames_give_valid_tool_calls(name: str, frames: list[Any]) -> None:
    calls, count = ToolCallAssembler("x"), 0
    ids: list[str] = []
    with suppress(UpstreamError):  # of a call whose name never arrives
        for frame in frames:
            for delta in calls.add(list(TOOL_FORMATS[name].read_calls(frame))):
                assert delta["index"] <= count
                if delta["index"] == count:
                    count += 1
                    ids.append(delta["id"])
                    assert isinstance(delta["function"]["name"], str)
                assert isinstance(delta["function"]["arguments"], str)
        for delta in calls.close() or []:
            assert json.loads(delta["function"]["arguments"]) is not None
    assert len(set(ids)) == len(ids) == count


def test_fragments_of_unstarted_calls_are_dropped() -> None:
    calls = ToolCallAssembler("x")
    assert (
        calls.add([ToolCallFragment(3, arguments="{}"), ToolCallFragment(None, ended=True), "call", None, 5])
        == []
    )
    assert not calls
