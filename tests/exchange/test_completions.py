"""Legacy completions: on a route with rules they go out as chats, and come back as completions."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.errors import RequestError
from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import (
    new_exchange,
    pieces_of,
    request,
    request_bodies,
    request_body,
    run_completion,
    run_stream,
    sse,
)
from tests.strict_client import read_completion, read_stream

TALKS = "response: $.answer\nstream: {text: $.delta}"


def asked(prompt: Any = "hi", **members: Any) -> dict[str, Any]:
    """A client's body."""
    return request("completions", prompt=prompt, **members)


def bodies(rules: str, body: dict[str, Any]) -> list[Any]:
    return request_bodies(new_exchange(rules, body, endpoint="completions"))


def test_without_rules_the_body_goes_on_as_it_is() -> None:
    for prompt in ("hi", ["a", "b"], [1, 2], [[1], [2]]):
        body = asked(prompt, n=2, suffix="!")
        assert bodies("serves: [chat, completions]", body) == [body]


def test_without_rules_the_prompt_can_still_be_part_of_a_header() -> None:
    [call] = new_exchange(
        "headers: {X-Said: '{{ last }}|{{ prompt }}'}", asked(messages=[5]), endpoint="completions"
    ).calls
    assert call.request().headers["X-Said"] == "hi|hi"


@pytest.mark.parametrize("rules", [TALKS, "request: {fields: {a: 1}}", "request: {drop: [user]}"])
def test_an_edited_body_goes_out_as_a_chat(rules: str) -> None:
    [body] = bodies(rules, asked(temperature=0.5))
    assert "prompt" not in body
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert body["temperature"] == 0.5


def test_a_body_made_anew_sees_the_prompt_both_ways() -> None:
    rules = "request: {body: {p: $.prompt, m: $.messages, l: $.last, r: $.raw.prompt}}\nprompt: chatml"
    assert request_body(rules, asked(" hi\n"), endpoint="completions") == {
        "p": " hi\n",  # the client's text, untouched
        "m": [{"role": "user", "content": " hi\n"}],
        "l": " hi\n",
        "r": " hi\n",
    }


def test_a_prompt_that_is_sent_as_it_is_brings_no_stop_strings() -> None:
    assert "stop" not in request_body(
        "request: {body: {p: $.prompt, stop: $.stop}}\nprompt: chatml", asked(), endpoint="completions"
    )


@pytest.mark.parametrize("prompt", [[1, 2], [[1, 2], [3]]])
def test_tokens_are_refused_where_text_is_needed(prompt: Any) -> None:
    with pytest.raises(RequestError) as raised:
        bodies(TALKS, asked(prompt))
    assert (raised.value.status, raised.value.param) == (400, "prompt")


def test_the_answer_is_a_completion() -> None:
    whole = run_completion(TALKS, {"answer": "Teal."}, endpoint="completions")
    assert (whole.object, whole.choice.text) == ("text_completion", "Teal.")
    assert whole.id.startswith("cmpl-")
    stream = run_stream(TALKS, sse({"delta": "Te"}, {"delta": "al."}), endpoint="completions")
    assert (stream.object, stream.choice.chunks) == ("text_completion", ["Te", "al."])


def test_a_list_of_prompts_is_that_many_calls() -> None:
    assert [body["messages"][0]["content"] for body in bodies(TALKS, asked(["a", "b", "c"]))] == [*"abc"]


def test_a_list_of_prompts_is_that_many_answers_by_index() -> None:
    exchange = new_exchange(TALKS, asked(["a", "b"]), endpoint="completions")
    for call in reversed(exchange.calls):  # whichever comes first
        exchange.start(call, 200, {})
        prompt = call.builder.text
        exchange.feed(call, pieces_of({"answer": f"re {prompt}"})[0])
        out = exchange.close(call)
    whole = read_completion(out)
    assert {index: said.text for index, said in whole.choices.items()} == {0: "re a", 1: "re b"}


def test_a_list_of_prompts_streams_by_index() -> None:
    exchange = new_exchange(TALKS, asked(["a", "b"], stream=True), endpoint="completions")
    one, two = exchange.calls
    exchange.start(one, 200, {})
    exchange.start(two, 200, {})
    out = exchange.feed(two, sse({"delta": "B"})[0]) + exchange.feed(one, sse({"delta": "A"})[0])
    out += exchange.close(one)
    out += exchange.feed(two, sse({"delta": "B"})[0]) + exchange.close(two)
    stream = read_stream(out)
    assert {index: said.text for index, said in stream.choices.items()} == {0: "A", 1: "BB"}
    assert stream.choice.finish_reason == "stop"


def test_several_prompts_with_several_answers_each_in_openais_order() -> None:
    exchange = new_exchange(TALKS, asked(["a", "b"], n=2), endpoint="completions")
    assert [call.builder.text for call in exchange.calls] == ["a", "a", "b", "b"]
    out = simulate(exchange, pieces_of({"answer": "x"}))
    assert sorted(read_completion(out).choices) == [0, 1, 2, 3]


@pytest.mark.parametrize("stream", [False, True])
def test_servers_that_give_several_answers_a_call_share_the_indexes(stream: bool) -> None:
    rules = "response: {text: $item.t, choices: '$.all[*]'}\nstream: {framing: ndjson}"
    exchange = new_exchange(rules, asked(["a", "b"], n=2, stream=stream), endpoint="completions")
    assert [body["n"] for body in request_bodies(exchange)] == [2, 2]
    out = b""
    for call in exchange.calls:
        exchange.start(call, 200, {})
        [answer] = pieces_of({"all": [{"t": f"{call.builder.text}{n}"} for n in range(2)]})
        out += exchange.feed(call, answer)
        out += exchange.close(call)
    choices = (read_stream(out) if stream else read_completion(out)).choices
    assert {index: said.text for index, said in choices.items()} == {0: "a0", 1: "a1", 2: "b0", 3: "b1"}


def test_answers_nobody_asked_for_take_no_other_ones_place() -> None:
    rules = "response: {text: $item.t, choices: '$.all[*]'}"
    answer = {"all": [{"t": "one"}, {"t": "too many"}]}
    whole = run_completion(rules, answer, asked(["a", "b"]), endpoint="completions")
    assert {index: said.text for index, said in whole.choices.items()} == {0: "one", 1: "one"}


def test_a_failure_of_one_call_fails_them_all() -> None:
    exchange = new_exchange(TALKS, asked(["a", "b"]), endpoint="completions")
    one, two = exchange.calls
    exchange.start(one, 200, {})
    exchange.start(two, 429, {"retry-after": "7"})
    assert exchange.feed(one, b'{"answer": "x"}') == b""
    assert exchange.close(two) == b""
    assert exchange.error is not None
    assert (exchange.error.status, exchange.error.retry_after) == (429, "7")
    assert exchange.finished(one)
    assert exchange.close(one) == b""


def test_the_usage_of_several_calls_is_their_sum() -> None:
    rules = "response: {text: $.a, usage: {prompt_tokens: $.p, completion_tokens: $.c}}"
    whole = run_completion(rules, {"a": "x", "p": 3, "c": 2}, asked(["a", "b"]), endpoint="completions")
    assert whole.usage == {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}


def test_a_chat_server_answers_completions() -> None:
    """An OpenAI-speaking server behind edits is asked for a chat, so its chat is what comes back."""
    rules = "request: {fields: {a: 1}}"
    head = {"id": "chatcmpl-9", "created": 5, "model": "up"}
    message = {"role": "assistant", "content": "Teal."}
    answer = {
        **head,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
    }
    whole = run_completion(rules, answer, asked(), endpoint="completions")
    assert (whole.object, whole.choice.text, whole.choice.finish_reason) == (
        "text_completion",
        "Teal.",
        "stop",
    )
    chunk = {**head, "object": "chat.completion.chunk"}
    deltas: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "Te"}, None),
        ({"content": "al."}, None),
        ({}, "length"),
    ]
    events = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        for delta, finish in deltas
    ]
    stream = run_stream(rules, sse(*events, "data: [DONE]\n\n"), asked(), endpoint="completions")
    assert (stream.object, stream.choice.text, stream.choice.finish_reason) == (
        "text_completion", "Teal.", "length",
    )  # fmt: skip
