"""Every conversation in `cases/`, carried out by plain calls; then again with its bytes cut everywhere."""

from __future__ import annotations

import json
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.case_files import CASES, NAMES, Case, ExpectedRequest, Failure, Success, read_case
from tests.case_player import Outcome, play, sent_requests
from tests.exchange.single_exchange import comparable
from tests.strict_client import read_completion, read_stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.errors import BridgeError
    from bridge.exchange.exchange import Exchange
    from bridge.routes.rules.request_template import UpstreamRequest

RANDOM_CUTS = 30

every_conversation = pytest.mark.parametrize("of", [pytest.param(name, id="-".join(name)) for name in NAMES])


@every_conversation
def test_the_server_gets_the_requests(of: tuple[str, str]) -> None:
    conversation = read_case(*of)
    sent = sent_requests(conversation)
    wanted = [*(call.sends for call in conversation.calls), conversation.sends]
    assert len(sent) == len(wanted) * len(conversation.exchange().calls) > 0
    for request, sends in zip(sent, cycle(wanted), strict=False):
        hold_request(request, sends)


@every_conversation
def test_the_client_gets_the_answer(of: tuple[str, str]) -> None:
    conversation = read_case(*of)
    exchange = conversation.exchange()
    outcome = play(exchange, conversation, [conversation.data])
    if isinstance(conversation.answers, Failure):
        hold_failure(exchange, outcome, conversation, conversation.answers)
    else:
        assert exchange.error is None, exchange.error
        assert isinstance(conversation.answers, Success)
        hold_success(exchange, outcome, conversation, conversation.answers)


@every_conversation
def test_cuts_change_nothing(of: tuple[str, str]) -> None:
    conversation = read_case(*of)
    data = conversation.data
    whole = comparable_outcome(conversation, [data])
    for pieces in cuts(data, conversation.name):
        cut = comparable_outcome(conversation, pieces)
        assert cut == whole, f"cut into {[len(piece) for piece in pieces]} bytes"


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_a_case_is_complete(case: str) -> None:
    files = {path.name for path in (CASES / case).iterdir()}
    assert "route.yaml" in files
    told = {name.removesuffix(".json") for name in files if name.endswith(".json")}
    assert told & {"whole", "stream"}, "there is no good answer in this case"
    assert files == {"route.yaml"} | {f"{name}{end}" for name in told for end in (".json", ".bin")}


def comparable_outcome(conversation: Case, pieces: list[bytes]) -> tuple[Any, ...]:
    """Return all of an outcome that must not depend on the cuts."""
    exchange = conversation.exchange()
    out, *others = play(exchange, conversation, pieces)
    return comparable(exchange, out), *others


def cuts(data: bytes, seed: str) -> Iterable[list[bytes]]:
    """Byte by byte, in two at every position, and in three at random ones."""
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    random = Random(seed)
    for _ in range(RANDOM_CUTS if len(data) > 2 else 0):
        one, two = sorted(random.sample(range(1, len(data)), 2))
        yield [data[:one], data[one:two], data[two:]]


def hold_request(request: UpstreamRequest, sends: ExpectedRequest) -> None:
    """Hold what is sent against what must reach the server."""
    assert request.urls == (sends.url,)
    assert (request.method if request.websocket_limit is None else "GET") == sends.method
    assert (None if request.body is None else json.loads(request.body)) == sends.body
    sent = {name.lower(): value for name, value in request.headers.items()}
    assert len(sent) == len(request.headers), "a header twice"
    for name, value in sends.headers.items():
        assert sent.get(name.lower()) == value, f"the header {name}"


def hold_success(exchange: Exchange, outcome: Outcome, conversation: Case, wanted: Success) -> None:
    """Hold a good answer against what is wanted."""
    if conversation.is_stream:
        streamed = read_stream(outcome.out, include_usage=conversation.include_usage)
        assert streamed.error is None
        assert streamed.object == exchange.endpoint.chunk_object
        said, usage = streamed.choice, streamed.usage
        # Raw text has no frames, so how it is cut into chunks is the bridge's own affair.
        rule = exchange.route.response.streaming
        if wanted.chunks is not None and (rule is None or rule.framing.name != "text"):
            assert said.chunks == wanted.chunks
    else:
        completed = read_completion(outcome.out)
        assert completed.object == exchange.endpoint.object
        said, usage = completed.choice, completed.usage
    assert said.text == wanted.text
    assert said.finish_reason == wanted.finish_reason
    assert said.reasoning == wanted.reasoning
    calls = [{"name": call["name"], "arguments": json.loads(call["arguments"])} for call in said.tool_calls]
    assert calls == wanted.tool_calls
    told = None if usage is None else {name: usage[name] for name in wanted.usage or usage}
    assert told == wanted.usage


def hold_failure(exchange: Exchange, outcome: Outcome, conversation: Case, wanted: Failure) -> None:
    """Hold a failure against what is wanted: under its own status, or at the end of a stream."""
    error: BridgeError | None = exchange.error
    assert error is not None, outcome.out
    assert outcome.status == wanted.status, error
    envelope = error.envelope["error"]
    if wanted.status == 200:
        assert conversation.is_stream
        streamed = read_stream(outcome.out, include_usage=conversation.include_usage)
        assert streamed.error == envelope
        assert streamed.choice.text == wanted.text
    else:
        assert outcome.out == b""
        assert wanted.text == ""
    assert {name: envelope[name] for name in wanted.error} == wanted.error
    assert wanted.says in envelope["message"]  # type: ignore[operator]
    assert wanted.retry_after in (None, error.retry_after)
