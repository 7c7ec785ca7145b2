"""Legacy completions: a route with rules sends them as chats, and returns completions."""

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

RULES = "response: $.answer\nstream: {text: $.delta}"


def completion_request(prompt: Any = "hi", **members: Any) -> dict[str, Any]:
    """Return a client's body."""
    return request("completions", prompt=prompt, **members)


def bodies(rules: str, body: dict[str, Any]) -> list[Any]:
    return request_bodies(new_exchange(rules, body, endpoint="completions"))


def test_without_rules_the_body_is_forwarded() -> None:
    for prompt in ("hi", ["a", "b"], [1, 2], [[1], [2]]):
        body = completion_request(prompt, n=2, suffix="!")
        assert bodies("serves: [chat, completions]", body) == [body]


def test_without_rules_the_prompt_may_be_in_a_header() -> None:
    [call] = new_exchange(
        "headers: {X-Said: '{{ last }}|{{ prompt }}'}",
        completion_request(messages=[5]),
        endpoint="completions",
    ).calls
    assert call.request().headers["X-Said"] == "hi|hi"


ENDPOINT_URL = "upstream: 'http://server/v1/{{ endpoint | path }}'"


@pytest.mark.parametrize(
    "rules",
    [
        f"{ENDPOINT_URL}\nrequest: {{drop: [user]}}",
        f"{ENDPOINT_URL}\nrequest: {{roles: {{user: u}}, message_keys: {{content: c}}}}",
        f"{ENDPOINT_URL}\nstream: false",
        "serves: completions\nrequest: {drop: [user]}",
        "serves: completions\nresponse: {finish_reason: {path: $item.finish_reason, map: {a: length}}}",
        "request: {drop: [user]}\nemulate: {completions: false}",
    ],
)
@pytest.mark.parametrize("prompt", ["hi", ["a", "b"], [1, 2], [[1], [2]]])
def test_a_completion_stays_a_completion(rules: str, prompt: Any) -> None:
    """A URL that reads the endpoint, and a route for completions alone, get the client's own prompt."""
    body = completion_request(prompt, suffix="!", echo=True)
    assert bodies(rules, body) == [body]


@pytest.mark.parametrize(
    ("rules", "messages"),
    [
        (f"{ENDPOINT_URL}\nemulate: {{completions: chat}}", True),
        ("serves: completions\nrequest: {drop: [user]}\nemulate: {completions: chat}", True),
        ("emulate: {completions: chat}", True),
        ("emulate: {completions: false}\nrequest: {drop: [user]}", False),
    ],
)
def test_the_route_decides_what_a_completion_becomes(rules: str, messages: bool) -> None:
    """`emulate.completions` wins over the URL and `serves`."""
    [body] = bodies(rules, completion_request())
    assert ("messages" in body, "prompt" in body) == (messages, not messages)


def test_prompts_of_a_custom_server_are_calls_of_their_own() -> None:
    """A response with one text belongs to one prompt."""
    rules = "serves: completions\nresponse: $.answer\nrequest: {drop: [user]}"
    assert [body["prompt"] for body in bodies(rules, completion_request(["a", "b"]))] == ["a", "b"]
    assert [body["prompt"] for body in bodies(rules, completion_request([[1], [2]]))] == [[1], [2]]


def test_a_kept_completion_is_read_and_edited() -> None:
    """The finish reason is mapped, and the text is cut at a stop string of each prompt's choice."""
    rules = "serves: completions\nresponse: {finish_reason: {path: $item.finish_reason, map: {eos: length}}}"
    choices = [{"index": n, "text": text, "finish_reason": "eos"} for n, text in enumerate(("a", "bENDc"))]
    completion = run_completion(
        rules, {"choices": choices}, completion_request(["x", "y"], stop="END"), endpoint="completions"
    )
    assert [choice.text for choice in completion.choices.values()] == ["a", "b"]
    assert [choice.finish_reason for choice in completion.choices.values()] == ["length", "stop"]


@pytest.mark.parametrize("rules", [RULES, "request: {fields: {a: 1}}", "request: {drop: [user]}"])
def test_an_edited_body_is_sent_as_a_chat(rules: str) -> None:
    [body] = bodies(rules, completion_request(temperature=0.5))
    assert "prompt" not in body
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert body["temperature"] == 0.5


def test_a_body_template_reads_the_prompt_and_the_messages() -> None:
    rules = "request: {body: {p: $.prompt, m: $.messages, l: $.last, r: $.raw.prompt}}\nprompt: chatml"
    assert request_body(rules, completion_request(" hi\n"), endpoint="completions") == {
        "p": " hi\n",  # the client's text, unchanged
        "m": [{"role": "user", "content": " hi\n"}],
        "l": " hi\n",
        "r": " hi\n",
    }


def test_an_unformatted_prompt_adds_no_stop_strings() -> None:
    assert "stop" not in request_body(
        "request: {body: {p: $.prompt, stop: $.stop}}\nprompt: chatml",
        completion_request(),
        endpoint="completions",
    )


@pytest.mark.parametrize("prompt", [[1, 2], [[1, 2], [3]]])
def test_tokens_are_refused_if_text_is_required(prompt: Any) -> None:
    with pytest.raises(RequestError) as raised:
        bodies(RULES, completion_request(prompt))
    assert (raised.value.status, raised.value.param) == (400, "prompt")


def test_the_response_is_a_legacy_completion() -> None:
    completion = run_completion(RULES, {"answer": "Teal."}, endpoint="completions")
    assert (completion.object, completion.choice.text) == ("text_completion", "Teal.")
    assert completion.id.startswith("cmpl-")
    stream = run_stream(RULES, sse({"delta": "Te"}, {"delta": "al."}), endpoint="completions")
    assert (stream.object, stream.choice.chunks) == ("text_completion", ["Te", "al."])


def test_each_prompt_of_a_list_is_an_upstream_call() -> None:
    assert [
        body["messages"][0]["content"] for body in bodies(RULES, completion_request(["a", "b", "c"]))
    ] == [*"abc"]


def test_each_prompt_of_a_list_is_a_choice() -> None:
    exchange = new_exchange(RULES, completion_request(["a", "b"]), endpoint="completions")
    for call in reversed(exchange.calls):  # independent of the order of responses
        exchange.start(call, 200, {})
        prompt = call.builder.text
        exchange.feed(call, pieces_of({"answer": f"re {prompt}"})[0])
        out = exchange.close(call)
    completion = read_completion(out)
    assert {index: choice.text for index, choice in completion.choices.items()} == {0: "re a", 1: "re b"}


def test_the_prompts_of_a_list_are_streamed_by_index() -> None:
    exchange = new_exchange(RULES, completion_request(["a", "b"], stream=True), endpoint="completions")
    first, second = exchange.calls
    exchange.start(first, 200, {})
    exchange.start(second, 200, {})
    out = exchange.feed(second, sse({"delta": "B"})[0]) + exchange.feed(first, sse({"delta": "A"})[0])
    out += exchange.close(first)
    out += exchange.feed(second, sse({"delta": "B"})[0]) + exchange.close(second)
    stream = read_stream(out)
    assert {index: choice.text for index, choice in stream.choices.items()} == {0: "A", 1: "BB"}
    assert stream.choice.finish_reason == "stop"


def test_n_choices_of_several_prompts_have_openais_order() -> None:
    exchange = new_exchange(RULES, completion_request(["a", "b"], n=2), endpoint="completions")
    assert [call.builder.text for call in exchange.calls] == ["a", "a", "b", "b"]
    out = simulate(exchange, pieces_of({"answer": "x"}))
    assert sorted(read_completion(out).choices) == [0, 1, 2, 3]


@pytest.mark.parametrize("stream", [False, True])
def test_choices_of_upstreams_that_support_n_are_indexed_across_calls(stream: bool) -> None:
    rules = "response: {text: $item.t, choices: '$.all[*]'}\nstream: {framing: ndjson}"
    exchange = new_exchange(rules, completion_request(["a", "b"], n=2, stream=stream), endpoint="completions")
    assert [body["n"] for body in request_bodies(exchange)] == [2, 2]
    out = b""
    for call in exchange.calls:
        exchange.start(call, 200, {})
        [body] = pieces_of({"all": [{"t": f"{call.builder.text}{n}"} for n in range(2)]})
        out += exchange.feed(call, body)
        out += exchange.close(call)
    choices = (read_stream(out) if stream else read_completion(out)).choices
    assert {index: choice.text for index, choice in choices.items()} == {0: "a0", 1: "a1", 2: "b0", 3: "b1"}


def test_excess_choices_are_dropped() -> None:
    rules = "response: {text: $item.t, choices: '$.all[*]'}"
    body = {"all": [{"t": "one"}, {"t": "too many"}]}
    completion = run_completion(rules, body, completion_request(["a", "b"]), endpoint="completions")
    assert {index: choice.text for index, choice in completion.choices.items()} == {0: "one", 1: "one"}


def test_a_failed_call_fails_the_response() -> None:
    exchange = new_exchange(RULES, completion_request(["a", "b"]), endpoint="completions")
    first, second = exchange.calls
    exchange.start(first, 200, {})
    exchange.start(second, 429, {"retry-after": "7"})
    assert exchange.feed(first, b'{"answer": "x"}') == b""
    assert exchange.close(second) == b""
    assert exchange.error is not None
    assert (exchange.error.status, exchange.error.retry_after) == (429, "7")
    assert exchange.finished(first)
    assert exchange.close(first) == b""


def test_the_usage_of_several_calls_is_summed() -> None:
    rules = "response: {text: $.a, usage: {prompt_tokens: $.p, completion_tokens: $.c}}"
    completion = run_completion(
        rules, {"a": "x", "p": 3, "c": 2}, completion_request(["a", "b"]), endpoint="completions"
    )
    assert completion.usage == {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}


def test_a_chat_upstream_serves_completions() -> None:
    """An edited request is sent to an OpenAI upstream as a chat, so the response is a chat."""
    rules = "request: {fields: {a: 1}}"
    head = {"id": "chatcmpl-9", "created": 5, "model": "up"}
    message = {"role": "assistant", "content": "Teal."}
    body = {
        **head,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
    }
    completion = run_completion(rules, body, completion_request(), endpoint="completions")
    assert (completion.object, completion.choice.text, completion.choice.finish_reason) == (
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
    stream = run_stream(rules, sse(*events, "data: [DONE]\n\n"), completion_request(), endpoint="completions")
    assert (stream.object, stream.choice.text, stream.choice.finish_reason) == (
        "text_completion", "Teal.", "length",
    )  # fmt: skip
