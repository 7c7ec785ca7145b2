"""Every recorded case of `cases/`, played by plain calls, with the response whole and cut everywhere."""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.case_files import CASES, Case, Embeddings, ExpectedRequest, Failure, Success, case_names, read_case
from tests.case_player import Outcome, play, sent_requests
from tests.exchange.single_exchange import comparable
from tests.strict_client import read_completion, read_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.core.errors import BridgeError
    from bridge.exchange.exchange import Exchange
    from bridge.routes.rules.request_template import UpstreamRequest

RANDOM_CUTS = 30

every_case = pytest.mark.parametrize("name", [pytest.param(name, id="-".join(name)) for name in case_names()])


@every_case
def test_the_upstream_receives_the_expected_requests(name: tuple[str, str]) -> None:
    case = read_case(*name)
    requests = sent_requests(case)
    expected = [*(call.sends for call in case.calls), case.sends]
    assert len(requests) == len(expected) * len(case.exchange().calls) > 0
    for request, sends in zip(requests, cycle(expected), strict=False):
        check_request(request, sends)


@every_case
def test_the_client_receives_the_expected_response(name: tuple[str, str]) -> None:
    case = read_case(*name)
    exchange = case.exchange()
    outcome = play(exchange, case, [case.data])
    if isinstance(case.answers, Failure):
        check_failure(exchange, outcome, case, case.answers)
        return
    assert exchange.error is None, exchange.error
    if isinstance(case.answers, Embeddings):
        check_embeddings(outcome, case, case.answers)
    else:
        check_success(exchange, outcome, case, case.answers)


@every_case
def test_cuts_of_the_response_change_nothing(name: tuple[str, str]) -> None:
    case = read_case(*name)
    expected = comparable_outcome(case, [case.data])
    for pieces in cuts(case.data, case.name):
        outcome = comparable_outcome(case, pieces)
        assert outcome == expected, f"cut into {[len(piece) for piece in pieces]} bytes"


@pytest.mark.parametrize("folder", sorted(path.name for path in CASES.iterdir()))
def test_a_folder_of_cases_is_complete(folder: str) -> None:
    files = {path.name for path in (CASES / folder).iterdir()}
    names = {name.removesuffix(".json") for name in files if name.endswith(".json")}
    assert names & {"whole", "stream"}, "a successful response is missing"
    assert files == {"route.yaml"} | {f"{name}{suffix}" for name in names for suffix in (".json", ".bin")}


def comparable_outcome(case: Case, pieces: list[bytes]) -> tuple[Any, ...]:
    """Return all of an outcome that must not depend on the cuts."""
    exchange = case.exchange()
    out, *others = play(exchange, case, pieces)
    return comparable(exchange, out), *others


def cuts(data: bytes, seed: str) -> Iterator[list[bytes]]:
    """Cut into single bytes, in two at every position, and in three at random positions."""
    yield [data[index : index + 1] for index in range(len(data))]
    for index in range(1, len(data)):
        yield [data[:index], data[index:]]
    random = Random(seed)
    for _ in range(RANDOM_CUTS if len(data) > 2 else 0):
        first, second = sorted(random.sample(range(1, len(data)), 2))
        yield [data[:first], data[first:second], data[second:]]


def check_request(request: UpstreamRequest, expected: ExpectedRequest) -> None:
    """Compare a request to the upstream with the case file."""
    assert request.urls == (expected.url,)
    assert (request.method if request.websocket_limit is None else "GET") == expected.method
    assert (None if request.body is None else json.loads(request.body)) == expected.body
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert len(headers) == len(request.headers), "a header is sent twice"
    for name, value in expected.headers.items():
        assert headers.get(name.lower()) == value, f"header {name}"


def check_success(exchange: Exchange, outcome: Outcome, case: Case, expected: Success) -> None:
    """Compare a completion, or a stream of chunks, with the case file."""
    if case.is_stream:
        stream = read_stream(outcome.out, include_usage=case.include_usage)
        assert stream.error is None
        assert stream.object == exchange.endpoint.chunk_object
        choice, usage = stream.choice, stream.usage
        # Plain text has no frames: the chunks follow the pieces of the body.
        rule = exchange.route.response.streaming
        if expected.chunks is not None and (rule is None or rule.framing.name != "text"):
            assert choice.chunks == expected.chunks
    else:
        completion = read_completion(outcome.out)
        assert completion.object == exchange.endpoint.object
        choice, usage = completion.choice, completion.usage
        if expected.usage is None:  # a completion without counts has zeros
            assert usage is not None
            assert not any(usage.values())
            usage = None
    assert choice.text == expected.text
    assert choice.finish_reason == expected.finish_reason
    assert choice.reasoning == expected.reasoning
    calls = [{"name": call["name"], "arguments": json.loads(call["arguments"])} for call in choice.tool_calls]
    assert calls == expected.tool_calls
    counts = None if usage is None else {name: usage[name] for name in expected.usage or usage}
    assert counts == expected.usage


def check_embeddings(outcome: Outcome, case: Case, expected: Embeddings) -> None:
    """Compare a list of embeddings, of either encoding, with the case file."""
    body = json.loads(outcome.out)
    assert (body["object"], body["model"]) == ("list", case.request["model"])
    assert [item["index"] for item in body["data"]] == list(range(len(body["data"])))
    assert {item["object"] for item in body["data"]} == {"embedding"}
    vectors = [item["embedding"] for item in body["data"]]
    if case.request.get("encoding_format") == "base64":
        vectors = [decode_vector(text) for text in vectors]
    assert vectors == expected.vectors
    # A response without counts has zeros.
    assert body["usage"] == (expected.usage or {"prompt_tokens": 0, "total_tokens": 0})


def decode_vector(text: str) -> list[Any]:
    """Decode the floats of an embedding in base64."""
    return [number for (number,) in struct.iter_unpack("<f", b64decode(text, validate=True))]


def check_failure(exchange: Exchange, outcome: Outcome, case: Case, expected: Failure) -> None:
    """Compare an error, with a status of its own or at the end of a stream, with the case file."""
    error: BridgeError | None = exchange.error
    assert error is not None, outcome.out
    assert outcome.status == expected.status, error
    envelope = error.envelope["error"]
    if expected.status == 200:
        assert case.is_stream
        stream = read_stream(outcome.out, include_usage=case.include_usage)
        assert stream.error == envelope
        assert stream.choice.text == expected.text
    else:
        assert outcome.out == b""
        assert expected.text == ""
    assert {name: envelope[name] for name in expected.error} == expected.error
    assert expected.says in envelope["message"]
    assert expected.retry_after in (None, error.retry_after)
