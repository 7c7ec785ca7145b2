"""Embeddings: upstream requests, batches, and refused requests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import ConfigError, RequestError
from tests.exchange.embeddings_exchange import (
    BARE,
    ONE,
    OPENAI,
    SERVES,
    Body,
    embeddings_error,
    embeddings_request,
    embeddings_response,
    vectors,
)
from tests.exchange.single_exchange import new_exchange, request_bodies, route


def test_templates_read_the_inputs() -> None:
    rules = SERVES + "request: {body: {i: $.input, l: $.inputs, p: $.prompt, m: $.messages, t: $.last}}\n"
    [single] = request_bodies(new_exchange(rules, embeddings_request(), endpoint="embeddings"))
    messages = [{"role": "user", "content": "hi"}]
    assert single == {"i": "hi", "l": ["hi"], "p": "hi", "m": messages, "t": "hi"}
    [several] = request_bodies(
        new_exchange(rules, embeddings_request(input=["hi", "ho"]), endpoint="embeddings")
    )
    assert several == {"i": ["hi", "ho"], "l": ["hi", "ho"], "m": []}


@pytest.mark.parametrize(
    ("batch", "sent"),
    [(1, ["a", "b", "c"]), (2, [["a", "b"], ["c"]]), (3, [["a", "b", "c"]]), (9, [["a", "b", "c"]])],
)
@pytest.mark.parametrize("rules", [SERVES, SERVES + "request: {body: {input: $.input}}\n"])
def test_inputs_are_split_into_batches_in_order(batch: int, sent: list[Any], rules: str) -> None:
    exchange = new_exchange(
        f"{rules}emulate: {{batch: {batch}}}",
        embeddings_request(input=["a", "b", "c"]),
        endpoint="embeddings",
    )
    assert [body["input"] for body in request_bodies(exchange)] == sent


def test_vectors_of_several_calls_are_joined_and_usage_is_summed() -> None:
    rules = SERVES + "emulate: {batch: 2}"
    first = {**OPENAI, "data": [{"embedding": [1]}, {"embedding": [2]}]}
    last = {**OPENAI, "data": [{"embedding": [3]}]}
    assert vectors(rules, first, last, input=["a", "b", "c"]) == [[1], [2], [3]]
    assert embeddings_response(rules, first, last, input=["a", "b", "c"])["usage"] == {
        "prompt_tokens": 4,
        "total_tokens": 4,
    }


def test_calls_may_finish_in_any_order() -> None:
    exchange = new_exchange(
        ONE + "emulate: {batch: 1}", embeddings_request(input=["a", "b", "c"]), endpoint="embeddings"
    )
    out = b""
    for call in reversed(exchange.calls):
        exchange.start(call, 200, {})
        [text] = [json.loads(call.request().body or b"")["text"]]
        out += exchange.feed(call, json.dumps({"vector": [ord(text)]}).encode()) + exchange.close(call)
    assert [item["embedding"] for item in json.loads(out)["data"]] == [[97], [98], [99]]


def test_a_failed_call_fails_the_response() -> None:
    exchange = new_exchange(ONE, embeddings_request(input=["a", "b"]), endpoint="embeddings")
    single, several = exchange.calls
    for call, status, body in ((single, 200, b'{"vector": [1]}'), (several, 429, b'{"error": "busy"}')):
        exchange.start(call, status, {})
        assert exchange.feed(call, body) + exchange.close(call) == b""
    assert exchange.error is not None
    assert exchange.error.status == 429


def test_vectors_of_several_calls_must_have_one_length() -> None:
    exchange = new_exchange(ONE, embeddings_request(input=["a", "b"]), endpoint="embeddings")
    for call, body in zip(exchange.calls, (b'{"vector": [1]}', b'{"vector": [1, 2]}'), strict=True):
        exchange.start(call, 200, {})
        assert exchange.feed(call, body) + exchange.close(call) == b""
    assert exchange.error is not None
    assert "different lengths: 1, 2" in exchange.error.message


def test_a_body_for_one_text_gets_one_input_per_call() -> None:
    assert request_bodies(new_exchange(ONE, embeddings_request(input=["a", "b"]), endpoint="embeddings")) == [
        {"text": "a"},
        {"text": "b"},
    ]


def test_dimensions_are_never_dropped_silently() -> None:
    # A request that does not carry the parameter gets vectors of the upstream's own length.
    assert new_exchange(BARE, embeddings_request(dimensions=2), endpoint="embeddings").dropped == (
        "dimensions",
    )
    assert vectors(BARE, {"vectors": [[1, 2]]}, dimensions=2) == [[1, 2]]
    assert "`dimensions`" in embeddings_error(BARE, {"vectors": [[1, 2, 3]]}, dimensions=2).message
    rules = BARE.replace("$.inputs", "$.inputs, d: $.dimensions")
    assert request_bodies(new_exchange(rules, embeddings_request(dimensions=2), endpoint="embeddings")) == [
        {"texts": ["hi"], "d": 2}
    ]
    assert vectors(rules, {"vectors": [[1, 2]]}, dimensions=2) == [[1, 2]]
    assert "`dimensions`" in embeddings_error(rules, {"vectors": [[1, 2, 3]]}, dimensions=2).message
    assert "`dimensions`" in embeddings_error(SERVES, OPENAI, dimensions=3).message


def test_the_format_is_sent_only_if_the_rule_reads_it() -> None:
    def sent(rules: str) -> Body:
        exchange = new_exchange(
            SERVES + rules, embeddings_request(encoding_format="base64"), endpoint="embeddings"
        )
        assert exchange.dropped == ()
        [body] = request_bodies(exchange)
        return dict(body)

    assert "encoding_format" in sent("")
    assert "encoding_format" in sent("request: {fields: {a: 1}}")
    assert "encoding_format" not in sent("response: {embeddings: $.v}")
    assert sent("request: {rename: {encoding_format: kind}}\nresponse: {embeddings: $.v}")["kind"] == "base64"
    assert sent("request: {body: {kind: $.encoding_format}}\nresponse: {embeddings: $.v}") == {
        "kind": "base64"
    }


def test_tokens_are_sent_only_in_the_clients_body() -> None:
    for tokens in ([1, 2], [[1, 2], [3]]):
        [body] = request_bodies(new_exchange(SERVES, embeddings_request(input=tokens), endpoint="embeddings"))
        assert body["input"] == tokens
        with pytest.raises(RequestError, match="texts, not tokens") as raised:
            new_exchange(BARE, embeddings_request(input=tokens), endpoint="embeddings")
        assert raised.value.param == "input"
    split = new_exchange(
        SERVES + "emulate: {batch: 1}", embeddings_request(input=[[1, 2], [3]]), endpoint="embeddings"
    )
    assert [body["input"] for body in request_bodies(split)] == [[1, 2], [3]]


@pytest.mark.parametrize(
    "members",
    [
        {"input": None}, {"input": ""}, {"input": []}, {"input": ["a", ""]}, {"input": [[]]},
        {"input": ["a", 1]}, {"input": [1, [2]]}, {"input": 5}, {"input": [1.5]}, {"input": [True]},
        {"encoding_format": "int8"}, {"encoding_format": 1}, {"dimensions": 0}, {"dimensions": "2"},
        {"dimensions": True}, {"stream": True}, {"model": ""}, {"model": None},
    ],
)  # fmt: skip
def test_an_invalid_request_is_refused_with_its_parameter(members: Body) -> None:
    with pytest.raises(RequestError) as raised:
        new_exchange(SERVES, embeddings_request(**members), endpoint="embeddings")
    assert (raised.value.status, raised.value.param) == (400, next(iter(members)))


@pytest.mark.parametrize("response", ["$.text", "{text: $.text}", "false\nstream: $.text"])
def test_a_route_that_serves_embeddings_must_read_embeddings(response: str) -> None:
    with pytest.raises(ConfigError, match="`embeddings`"):
        route(f"serves: [chat, embeddings]\nresponse: {response}")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
members = st.sampled_from(
    ["input", "prompt", "encoding_format", "dimensions", "n", "response_format", "user", "stream", "x"]
)


@pytest.mark.parametrize("rules", ["", "request: {body: {a: $, l: $.inputs, p: $.prompt, h: $.history}}"])
@pytest.mark.parametrize("endpoint", ["embeddings", "images"])
@given(st.dictionaries(members, anything, max_size=5), st.one_of(st.text(), st.lists(st.text())))
def test_any_json_is_refused_or_sent(rules: str, endpoint: str, body: Body, text: Any) -> None:
    for sent in (body, {"input": text, "prompt": "a", **body}):
        data = json.dumps({"model": "m", **sent}).encode()
        raised = None
        try:
            exchange = new_exchange(f"serves: [embeddings, images]\n{rules}", endpoint=endpoint, data=data)
            assert request_bodies(exchange)
            assert not exchange.is_stream
        except RequestError as error:
            raised = error.status
        assert raised in (None, 400)
