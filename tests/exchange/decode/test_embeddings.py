"""Embeddings: vectors of any shape become OpenAI's shape, in the format that the client requests."""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.dry_run import simulate
from tests.exchange.embeddings_exchange import (
    BARE,
    OPENAI,
    SERVES,
    WHOLE,
    Body,
    embeddings_error,
    embeddings_request,
    embeddings_response,
    vectors,
)
from tests.exchange.single_exchange import bytewise, new_exchange, pieces_of

PACKED = {**OPENAI, "data": [{"object": "embedding", "index": 0, "embedding": "AAAAPwAAgL4="}]}


def base64(*numbers: float) -> str:
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([0.5, -0.25], [[0.5, -0.25]]),
        ([[0.5, -0.25]], [[0.5, -0.25]]),
        ([1], [[1]]),
        ([[0.5], [-0.25]], [[0.5], [-0.25]]),
        ([[[0.5, -0.25]], [[1, 2]]], [[0.5, -0.25], [1, 2]]),
        ("[0.5, -0.25]", [[0.5, -0.25]]),
        (" [[0.5], [0.25]]", [[0.5], [0.25]]),
        (["[0.5]", base64(0.25)], [[0.5], [0.25]]),
        (base64(0.5, -0.25), [[0.5, -0.25]]),
        ({"embedding": [0.5]}, [[0.5]]),
        ([{"embedding": [0.5]}], [[0.5]]),
        ([{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [[1]]}], [[1], [2]]),
        ([{"index": 2, "embedding": "[2]"}, {"index": 1, "embedding": [1]}], [[1], [2]]),
        # With invalid indexes, the order of the list holds.
        ([{"index": 0, "embedding": [2]}, {"index": 0, "embedding": [1]}], [[2], [1]]),
        ([{"index": "1", "embedding": [2]}, {"index": "0", "embedding": [1]}], [[2], [1]]),
    ],
)
def test_vectors_of_many_shapes_are_read(sent: Any, expected: list[list[float]]) -> None:
    inputs = ["text"] * len(expected)
    assert vectors(BARE, {"vectors": sent}, input=inputs) == expected
    if not isinstance(sent, dict | str):
        assert vectors(WHOLE, sent, input=inputs) == expected
    assert vectors(BARE, {"vectors": sent}, input=inputs, encoding_format="base64") == [
        base64(*numbers) for numbers in expected
    ]


@pytest.mark.parametrize(
    ("body", "inputs", "reason"),
    [
        ('{"vectors": [0.5, NaN]}', 1, "finite"),
        ('{"vectors": [[0.5], [Infinity]]}', 2, "finite"),
        ('{"vectors": [0.5, 1e999]}', 1, "infinity"),
        ('{"vectors": [1e39]}', 1, "32-bit"),
        ('{"vectors": [1' + "0" * 400 + "]}", 1, "32-bit"),
        ({"vectors": [0.5, True]}, 1, "finite numbers"),
        ({"vectors": [0.5, "0.5"]}, 1, "finite numbers"),
        ({"vectors": [[0.5], "nothing"]}, 2, "neither JSON nor base64"),
        ({"vectors": "[0.5"}, 1, "not JSON"),
        ({"vectors": base64(float("nan"))}, 1, "NaN"),
        ({"vectors": [[0.5], []]}, 2, "no numbers"),
        ({"vectors": [[0.5], [0.5, 0.25]]}, 2, "1, 2"),
        ({"vectors": [[[0.5], [0.25], [0.1]]]}, 1, "3 rows"),
        ({"vectors": [{"index": 0}]}, 1, "no numbers"),
        ({"vectors": {"a": 1}}, 1, "no list of numbers"),
        ({"vectors": 5}, 1, "no list of numbers"),
        ({"vectors": []}, 2, "0 embeddings for 2 inputs"),
        ({"vectors": [[0.5]]}, 2, "1 embedding for 2 inputs"),
        ({"vectors": [[0.5], [0.25], [1]]}, 2, "3 embeddings for 2 inputs"),
    ],
)
def test_an_invalid_embedding_is_an_error_with_its_reason(body: Any, inputs: int, reason: str) -> None:
    error = embeddings_error(BARE, body, input=["text"] * inputs)
    assert (error.kind, error.status) == (UpstreamFailure.MALFORMED, 502)
    assert reason in error.message


def test_without_vectors_the_error_suggests_paths() -> None:
    error = embeddings_error(BARE, {"embeddings": [[0.5]], "took": 5})
    assert error.kind is UpstreamFailure.EMPTY
    assert "`$.vectors`" in error.message
    assert "$.embeddings[0]" in error.message


def test_upstream_errors_are_read_as_for_chats() -> None:
    rules = BARE + "error: {when: {$.code: {not: 0}}, message: $.msg, status: 404}"
    error = embeddings_error(rules, {"code": 5, "msg": "no such thing"})
    assert (error.status, error.message, error.kind) == (404, "no such thing", UpstreamFailure.REFUSED)
    assert embeddings_error(BARE, {"error": {"message": "too long"}}).message == "too long"
    assert embeddings_error(WHOLE, {"error": {"message": "too long"}}).message == "too long"
    assert embeddings_error(BARE, b"").kind is UpstreamFailure.EMPTY
    assert embeddings_error(BARE, b"<html>").kind is UpstreamFailure.MALFORMED


def test_the_response_has_openais_shape() -> None:
    rules = BARE.replace("$.vectors", "$.vectors, usage: {prompt_tokens: $.count}")
    assert embeddings_response(rules, {"vectors": [[0.5]], "count": 3}) == {
        "object": "list",
        "model": "m",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    no_counts = embeddings_response(rules, {"vectors": [[0.5]]})["usage"]
    assert no_counts == {"prompt_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize(("body", "members"), [(OPENAI, {}), (PACKED, {"encoding_format": "base64"})])
def test_a_conforming_response_is_forwarded_unchanged(body: Body, members: Body) -> None:
    data = json.dumps({**body, "provider": {"a": 1.0}}, indent=1).encode()
    for pieces in ([data], bytewise([data])):
        exchange = new_exchange(SERVES, embeddings_request(**members), endpoint="embeddings")
        assert simulate(exchange, pieces) == data


@pytest.mark.parametrize("body", [OPENAI, PACKED])
def test_the_format_is_the_one_that_the_client_requests(body: Body) -> None:
    for members, expected in (("float", OPENAI), ("base64", PACKED)):
        assert embeddings_response(SERVES, {**body, "provider": "x"}, encoding_format=members) == {
            **expected,
            "provider": "x",
        }


def test_faults_of_openais_shape_are_normalized() -> None:
    sent = {"data": [{"embedding": [1], "index": 1, "seen": True}, {"embedding": [0], "index": 0}]}
    assert embeddings_response(SERVES, sent, input=["a", "b"]) == {
        "object": "list",
        "model": "m",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0]},
            {"object": "embedding", "index": 1, "embedding": [1], "seen": True},
        ],
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }
    assert embeddings_response(SERVES, {**OPENAI, "usage": {"total_tokens": 2.0}, "error": None}) == OPENAI


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=4))
def test_any_floats_are_returned_unchanged(numbers: list[list[float]]) -> None:
    inputs = ["text"] * len(numbers)
    for rules, body in (
        (BARE, {"vectors": numbers}),
        (SERVES, {"data": [{"embedding": n} for n in numbers]}),
    ):
        assert vectors(rules, body, input=inputs, encoding_format="float") == numbers
        packed = vectors(rules, body, input=inputs, encoding_format="base64")
        assert [list(struct.unpack("<3f", b64decode(text))) for text in packed] == numbers


@given(st.lists(st.floats(-1e38, 1e38), min_size=1, max_size=5), st.data())
def test_vectors_are_independent_of_splits(numbers: list[float], data: st.DataObject) -> None:
    body = json.dumps({"vectors": numbers}).encode()
    cut = data.draw(st.integers(0, len(body)))
    assert vectors(BARE, [body[:cut], body[cut:]]) == [numbers]
    [packed] = vectors(BARE, [body[:cut], body[cut:]], encoding_format="base64")
    assert b64decode(packed) == struct.pack(f"<{len(numbers)}f", *numbers)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["data", "embedding", "index"]), inner),
)


@given(json_values)
def test_any_response_gives_vectors_or_a_documented_error(value: Any) -> None:
    for rules in (SERVES, WHOLE):
        exchange = new_exchange(rules, embeddings_request(), endpoint="embeddings")
        out = simulate(exchange, pieces_of([json.dumps(value).encode()]))
        assert bool(out) is (exchange.error is None)
        if exchange.error is not None:
            assert isinstance(exchange.error, UpstreamError)
        else:
            assert len(json.loads(out)["data"]) == 1
