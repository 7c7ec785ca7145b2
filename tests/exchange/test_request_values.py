"""Values of requests: JSON read and written, names of tools, lone inputs, the Accept header."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exchange.single_exchange import new_exchange, request, request_bodies, request_body

CALL = {"id": "a1", "type": "function", "function": {"name": "feel", "arguments": '{"in": "Bern"}'}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": "warm?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "a1", "content": "21"},
    {"role": "tool", "tool_call_id": "a9", "content": "22"},
]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"in": "Bern"}', {"in": "Bern"}),
        ("[1, 2]", [1, 2]),
        ("7", 7),
        ("not JSON", None),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_as_object_reads_json(text: Any, value: Any) -> None:
    """A string of JSON becomes its value; a text that is not JSON is left out."""
    sent = request_body("request: {body: {v: {$path: $.metadata, as: object}}}", request(metadata=text))
    assert sent == ({} if value is None else {"v": value})
    assert request_body("request: {body: {v: {$path: $.a, as: json}}}", request(a=[1])) == {"v": "[1]"}


def test_messages_of_tools_have_the_name_of_the_tool() -> None:
    """The name comes from the call; a result without a call has none."""
    rules = "request: {body: {m: {$each: $.messages, $as: {n: $item.tool_name, c: $item.content}}}}"
    sent = request_body(rules, request(messages=MESSAGES))["m"]
    assert sent[2:] == [{"n": "feel", "c": "21"}, {"c": "22"}]
    assert request_body("request: {drop: [user]}", request(messages=MESSAGES))["messages"] == MESSAGES


@pytest.mark.parametrize("value", ["a", ["a"], ["a", "b"], [1, 2], [[1, 2]]])
@pytest.mark.parametrize("rules", ["", "request: {drop: [user]}", "emulate: {batch: 5}"])
def test_inputs_are_sent_as_the_client_has_them(rules: str, value: Any) -> None:
    """A lone input in a list stays a list."""
    exchange = new_exchange(
        f"serves: embeddings\n{rules}", {"model": "m", "input": value}, endpoint="embeddings"
    )
    assert [body["input"] for body in request_bodies(exchange)] == [value]


def test_a_template_gets_the_input_as_the_client_has_it() -> None:
    """The path `$.input` is the client's own value; batches of one are single inputs."""
    rules = "serves: embeddings\nrequest: {body: {i: $.input}}\nresponse: {embeddings: $.v}"
    for value in ("a", ["a"]):
        exchange = new_exchange(rules, {"model": "m", "input": value}, endpoint="embeddings")
        assert request_bodies(exchange) == [{"i": value}]
    exchange = new_exchange(
        f"{rules}\nemulate: {{batch: 1}}", {"model": "m", "input": ["a"]}, endpoint="embeddings"
    )
    assert request_bodies(exchange) == [{"i": "a"}]


@pytest.mark.parametrize(
    ("rules", "accept"),
    [
        ("", {False: "application/json", True: "*/*"}),
        ("response: $.t\nstream: {framing: ndjson}", {False: "application/json", True: "*/*"}),
        ("response: $.t\nstream: false", {False: "application/json", True: "application/json"}),
        ("response: $\nstream: false", {False: "*/*", True: "*/*"}),
        ("headers: {accept: text/plain}", {False: "text/plain", True: "text/plain"}),
    ],
)
def test_strict_servers_accept_the_accept_header(rules: str, accept: dict[bool, str]) -> None:
    """Some servers refuse a list of types, and types of streams."""
    for stream, expected in accept.items():
        [call] = new_exchange(rules, request(stream=stream)).calls
        headers = {name.lower(): value for name, value in call.request().headers.items()}
        assert headers["accept"] == expected
