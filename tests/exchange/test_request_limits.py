"""Limits of a request: upstream calls, inputs, messages, tools and stop strings."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.errors import RequestError
from bridge.exchange.dry_run import simulate
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.exchange.upstream_calls import UpstreamCalls
from bridge.openai.endpoints import COMPLETIONS, EMBEDDINGS
from tests.exchange.single_exchange import new_exchange, pieces_of, request, route
from tests.strict_client import read_completion

if TYPE_CHECKING:
    from bridge.exchange.upstream_call import UpstreamCall

PLAIN = "request: {body: {p: $.prompt}}\nresponse: $.answer"
VECTORS = (
    "serves: embeddings\nemulate: {batch: 1}\nrequest: {body: {p: $.prompt}}\nresponse: {embeddings: $.e}"
)
MESSAGE = {"role": "user", "content": "hi"}


def prompts(count: int, **members: Any) -> dict[str, Any]:
    """Return the body of a legacy completion of many prompts."""
    return {"model": "m", "prompt": ["hi"] * count, **members}


def turns(count: int) -> dict[str, Any]:
    """Return the body of a chat of many messages."""
    return request(messages=[MESSAGE] * count)


def inputs(count: int) -> dict[str, Any]:
    """Return the body of a request for many embeddings."""
    return {"model": "m", "input": ["hi"] * count}


def rejected(rules: str, body: dict[str, Any], endpoint: str = "chat") -> RequestError:
    with pytest.raises(RequestError) as raised:
        new_exchange(rules, body, endpoint=endpoint)
    assert raised.value.status == 400
    return raised.value


@pytest.mark.parametrize(
    ("accepted", "over", "endpoint", "param", "key"),
    [
        (prompts(128), prompts(129), "completions", "prompt", "calls"),
        (prompts(1, n=128), prompts(2, n=128), "completions", "n", "calls"),
        (prompts(64, n=2), prompts(65, n=2), "completions", "prompt", "calls"),
        (inputs(2048), inputs(2049), "embeddings", "input", "inputs"),
        (turns(10_000), turns(10_001), "chat", "messages", "messages"),
        (request(tools=[{}] * 1024), request(tools=[{}] * 1025), "chat", "tools", "tools"),
        (request(functions=[{}] * 1024), request(functions=[{}] * 1025), "chat", "functions", "tools"),
        (request(stop=["x"] * 64), request(stop=["x"] * 65), "chat", "stop", "stops"),
    ],
)  # fmt: skip
def test_a_longer_list_is_refused(
    accepted: dict[str, Any], over: dict[str, Any], endpoint: str, param: str, key: str
) -> None:
    rules = VECTORS if endpoint == "embeddings" else PLAIN
    new_exchange(rules, accepted, endpoint=endpoint)
    error = rejected(rules, over, endpoint)
    assert error.param == param
    assert f"limits.{key}" in error.message


@pytest.mark.parametrize(
    ("key", "body", "endpoint"),
    [
        ("calls", prompts(3), "completions"),
        ("inputs", inputs(3), "embeddings"),
        ("messages", turns(3), "chat"),
        ("tools", request(tools=[{}] * 3), "chat"),
        ("stops", request(stop=["a", "b", "c"]), "chat"),
    ],
)
def test_a_route_sets_its_own_limits(key: str, body: dict[str, Any], endpoint: str) -> None:
    rules = VECTORS if endpoint == "embeddings" else PLAIN
    new_exchange(f"{rules}\nlimits: {{{key}: 3}}", body, endpoint=endpoint)
    assert "up to 2 " in rejected(f"{rules}\nlimits: {{{key}: 2}}", body, endpoint).message.replace(",", " ")


def test_stop_strings_have_up_to_32768_characters_in_all() -> None:
    new_exchange(PLAIN, request(stop=["x" * 16_384] * 2))
    for stop in (["x" * 16_384] * 2 + ["y"], "x" * 32_769):
        assert rejected(PLAIN, request(stop=stop)).param == "stop"


def test_prompts_of_an_openai_upstream_are_one_call() -> None:
    assert len(new_exchange("serves: [completions]", prompts(500, n=128), endpoint="completions").calls) == 1


def test_the_tokens_of_one_text_are_one_input() -> None:
    body = {"model": "m", "input": [1] * 8000}
    assert len(new_exchange("serves: embeddings", body, endpoint="embeddings").calls) == 1


def test_excess_calls_are_refused_before_anything_is_built() -> None:
    """500 KB took two minutes and 8 GB."""
    requests = [
        (PLAIN, prompts(100_000, n=128), COMPLETIONS, "too_many_calls"),
        (VECTORS, inputs(1_000_000), EMBEDDINGS, "array_above_max_length"),
    ]
    for rules, body, endpoint, code in requests:
        context = RequestContext(route(rules), endpoint, body, b"", id="1", now=0.0)
        tracemalloc.start()
        with pytest.raises(RequestError) as raised:
            Exchange(context)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert raised.value.code == code
        assert peak < 100_000


def test_a_body_has_up_to_10000_members() -> None:
    """Members are copied for each call: 5 MB of members and 128 prompts took 8 GB."""
    members: dict[str, Any] = {f"x{number}": 1 for number in range(9_998)}
    new_exchange(PLAIN, request(**members))
    assert "10000" in rejected(PLAIN, request(**members, x=1)).message


def test_calls_are_made_when_they_are_used() -> None:
    exchange = new_exchange("prompt: join\n" + PLAIN, request(n=128))
    calls = exchange.calls
    assert isinstance(calls, UpstreamCalls)
    assert (len(calls), len(calls.made)) == (128, 1)
    first = calls[0]
    assert calls[2].builder.number == 2
    assert len(calls.made) == 3
    assert calls[0] is first
    with pytest.raises(IndexError):
        calls[128]


def test_calls_that_are_over_hold_no_bodies() -> None:
    """Each of the calls would have a prompt of its own."""
    message = {"role": "user", "content": "x" * 200_000}

    def peak_of(n: int) -> int:
        exchange = new_exchange("prompt: join\n" + PLAIN, request(messages=[MESSAGE, message], n=n))
        tracemalloc.start()
        for call in exchange.calls:
            call.request()
            finish(exchange, call)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_of(64) < peak_of(4) + 20 * 200_000


def finish(exchange: Exchange, call: UpstreamCall) -> bytes:
    exchange.start(call, 200, {})
    return exchange.feed(call, b'{"answer":"hi"}') + exchange.close(call)


def test_choices_and_usage_of_calls_made_late_are_complete() -> None:
    rules = "request: {body: {p: $.prompt}}\nresponse: {text: $.a, usage: {prompt_tokens: $.p}}"
    exchange = new_exchange(rules, prompts(3, n=2), endpoint="completions")
    completion = read_completion(simulate(exchange, pieces_of({"a": "x", "p": 3})))
    assert sorted(completion.choices) == [*range(6)]
    assert completion.usage is not None
    assert completion.usage["prompt_tokens"] == 18


def test_usage_is_read_without_making_further_calls() -> None:
    exchange = new_exchange(PLAIN, prompts(5), endpoint="completions")
    assert exchange.usage is None
    assert isinstance(exchange.calls, UpstreamCalls)
    assert len(exchange.calls.made) == 1


def test_tokens_among_many_prompts_are_refused_at_once() -> None:
    body = {"model": "m", "prompt": [[1, 2]] * 5}
    assert rejected(PLAIN, body, "completions").param == "prompt"
