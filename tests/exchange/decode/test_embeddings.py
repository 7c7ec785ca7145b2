"""Embeddings: whatever a server sends for vectors, clients get OpenAI's shape, in the format they ask for."""

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
    ("found", "wanted"),
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
        # Indexes that are none say nothing: the order is the list's.
        ([{"index": 0, "embedding": [2]}, {"index": 0, "embedding": [1]}], [[2], [1]]),
        ([{"index": "1", "embedding": [2]}, {"index": "0", "embedding": [1]}], [[2], [1]]),
    ],
)
def test_vectors_are_found_in_many_shapes(found: Any, wanted: list[list[float]]) -> None:
    given = ["text"] * len(wanted)
    assert vectors(BARE, {"vectors": found}, input=given) == wanted
    if not isinstance(found, dict | str):
        assert vectors(WHOLE, found, input=given) == wanted
    assert vectors(BARE, {"vectors": found}, input=given, encoding_format="base64") == [
        base64(*numbers) for numbers in wanted
    ]


@pytest.mark.parametrize(
    ("answer", "inputs", "says"),
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
def test_what_is_no_embedding_is_an_error_that_says_why(answer: Any, inputs: int, says: str) -> None:
    error = embeddings_error(BARE, answer, input=["text"] * inputs)
    assert (error.kind, error.status) == (UpstreamFailure.MALFORMED, 502)
    assert says in error.message


def test_where_nothing_is_found_the_likely_paths_are_told() -> None:
    error = embeddings_error(BARE, {"embeddings": [[0.5]], "took": 5})
    assert error.kind is UpstreamFailure.EMPTY
    assert "`$.vectors`" in error.message
    assert "$.embeddings[0]" in error.message


def test_failures_are_told_as_those_of_a_chat() -> None:
    rules = BARE + "error: {when: {$.code: {not: 0}}, message: $.msg, status: 404}"
    error = embeddings_error(rules, {"code": 5, "msg": "no such thing"})
    assert (error.status, error.message, error.kind) == (404, "no such thing", UpstreamFailure.REFUSED)
    assert embeddings_error(BARE, {"error": {"message": "too long"}}).message == "too long"
    assert embeddings_error(WHOLE, {"error": {"message": "too long"}}).message == "too long"
    assert embeddings_error(BARE, b"").kind is UpstreamFailure.EMPTY
    assert embeddings_error(BARE, b"<html>").kind is UpstreamFailure.MALFORMED


def test_the_answer_has_openais_shape() -> None:
    rules = BARE.replace("$.vectors", "$.vectors, usage: {prompt_tokens: $.count}")
    assert embeddings_response(rules, {"vectors": [[0.5]], "count": 3}) == {
        "object": "list",
        "model": "m",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert "usage" not in embeddings_response(rules, {"vectors": [[0.5]]})


@pytest.mark.parametrize(("answer", "asked"), [(OPENAI, {}), (PACKED, {"encoding_format": "base64"})])
def test_what_openai_says_itself_goes_on_as_it_is(answer: Body, asked: Body) -> None:
    data = json.dumps({**answer, "provider": {"a": 1.0}}, indent=1).encode()
    for pieces in ([data], bytewise([data])):
        exchange = new_exchange(SERVES, embeddings_request(**asked), endpoint="embeddings")
        assert simulate(exchange, pieces) == data


@pytest.mark.parametrize("answer", [OPENAI, PACKED])
def test_the_format_is_the_clients_whatever_the_servers(answer: Body) -> None:
    for asked, wanted in (("float", OPENAI), ("base64", PACKED)):
        assert embeddings_response(SERVES, {**answer, "provider": "x"}, encoding_format=asked) == {
            **wanted,
            "provider": "x",
        }


def test_faults_of_openais_shape_are_mended() -> None:
    found = {"data": [{"embedding": [1], "index": 1, "seen": True}, {"embedding": [0], "index": 0}]}
    assert embeddings_response(SERVES, found, input=["a", "b"]) == {
        "object": "list",
        "model": "m",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0]},
            {"object": "embedding", "index": 1, "embedding": [1], "seen": True},
        ],
    }
    assert embeddings_response(SERVES, {**OPENAI, "usage": {"total_tokens": 2.0}, "error": None}) == OPENAI


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=4))
def test_any_floats_come_back(numbers: list[list[float]]) -> None:
    inputs = ["text"] * len(numbers)
    for rules, answer in (
        (BARE, {"vectors": numbers}),
        (SERVES, {"data": [{"embedding": n} for n in numbers]}),
    ):
        assert vectors(rules, answer, input=inputs, encoding_format="float") == numbers
        packed = vectors(rules, answer, input=inputs, encoding_format="base64")
        assert [list(struct.unpack("<3f", b64decode(text))) for text in packed] == numbers


@given(st.lists(st.floats(-1e38, 1e38), min_size=1, max_size=5), st.data())
def test_it_does_not_matter_how_the_answer_was_cut(numbers: list[float], data: st.DataObject) -> None:
    answer = json.dumps({"vectors": numbers}).encode()
    cut = data.draw(st.integers(0, len(answer)))
    assert vectors(BARE, [answer[:cut], answer[cut:]]) == [numbers]
    [packed] = vectors(BARE, [answer[:cut], answer[cut:]], encoding_format="base64")
    assert b64decode(packed) == struct.pack(f"<{len(numbers)}f", *numbers)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["data", "embedding", "index"]), inner),
)


@given(json_values)
def test_any_answer_gives_vectors_or_a_documented_error(value: Any) -> None:
    for rules in (SERVES, WHOLE):
        exchange = new_exchange(rules, embeddings_request(), endpoint="embeddings")
        out = simulate(exchange, pieces_of([json.dumps(value).encode()]))
        assert bool(out) is (exchange.error is None)
        if exchange.error is not None:
            assert isinstance(exchange.error, UpstreamError)
        else:
            assert len(json.loads(out)["data"]) == 1
