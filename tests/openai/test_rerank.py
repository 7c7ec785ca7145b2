"""Rerank: requests to servers of other formats, and responses in the shape of Cohere and Jina."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core.errors import RequestError, UpstreamError
from tests.openai.front_exchange import completed, exchange

REQUEST = {"query": "sea", "documents": ["a number", {"text": "deep teal"}, "a verb"]}
TEI = "serves: rerank\nrequest: {body: {query: $.query, texts: $.documents}}\nresponse: {rerank: $}"
NAMED = (
    "serves: rerank\nrequest: {body: {q: $.query, d: $.documents}}\n"
    "response: {rerank: '$.results[*]', index: $.item.i, score: $item.s, document: $item.text}"
).replace("$.item.i", "$item.i")
PLAIN = "serves: rerank"


def ranking(response: dict[str, Any]) -> list[tuple[int, float]]:
    return [(result["index"], result["relevance_score"]) for result in response["results"]]


def test_the_request_is_built_by_the_rules() -> None:
    (call,) = exchange("rerank", TEI, REQUEST).calls
    sent = call.request().body
    assert isinstance(sent, bytes)
    assert json.loads(sent) == {"query": "sea", "texts": REQUEST["documents"]}


@pytest.mark.parametrize(
    ("rules", "upstream"),
    [
        (TEI, [{"index": 0, "score": 0.1}, {"index": 1, "score": 0.9}, {"index": 2, "score": 0.2}]),
        (NAMED, {"results": [{"i": 0, "s": 0.1}, {"i": 2, "s": 0.2}, {"i": 1, "s": 0.9}]}),
        (
            "serves: rerank\nrequest: {body: {d: $.documents}}\nresponse: {rerank: $.scores}",
            {"scores": [0.1, 0.9, 0.2]},
        ),
    ],
)
def test_the_best_document_is_the_first(rules: str, upstream: Any) -> None:
    response = completed("rerank", rules, REQUEST, upstream)
    assert ranking(response) == [(1, 0.9), (2, 0.2), (0, 0.1)]
    assert set(response) == {"id", "model", "results"}


def test_top_n_and_the_texts_are_served_by_the_bridge() -> None:
    upstream = [{"index": 0, "score": 0.1}, {"index": 1, "score": 0.9}]
    response = completed("rerank", TEI, {**REQUEST, "top_n": 1, "return_documents": True}, upstream)
    assert response["results"] == [{"index": 1, "relevance_score": 0.9, "document": {"text": "deep teal"}}]


def test_a_response_in_the_usual_shape_passes() -> None:
    upstream = {
        "results": [{"index": 1, "relevance_score": 0.9}],
        "meta": {"billed_units": {"search_units": 1}},
    }
    assert completed("rerank", PLAIN, REQUEST, upstream) == upstream


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"documents": ["a"]}, "query"),
        ({"query": "q"}, "documents"),
        ({"query": "q", "documents": []}, "documents"),
        ({"query": "q", "documents": ["a", 1]}, "documents[1]"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n"),
    ],
)
def test_the_error_names_the_member_at_fault(body: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as raised:
        exchange("rerank", TEI, body)
    assert (raised.value.status, raised.value.param) == (400, param)


@pytest.mark.parametrize(
    "upstream",
    [[{"index": 3, "score": 1}], [{"index": -1, "score": 1}], [{"index": 0, "score": "x"}], [], {"a": 1}],
)
def test_an_invalid_response_is_an_error(upstream: Any) -> None:
    made = exchange("rerank", TEI, REQUEST)
    (call,) = made.calls
    made.start(call, 200, {})
    made.feed(call, json.dumps(upstream).encode())
    made.close(call)
    assert isinstance(made.error, UpstreamError)
