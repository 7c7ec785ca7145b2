"""The fast path of non-streaming responses: its output equals the output of the decoder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import UpstreamError, UpstreamFailure
from tests.exchange.decode.both_paths import outcome, uses_fast_path
from tests.exchange.single_exchange import new_exchange, request, route
from tests.exchange.strategies import json_values

MAPPED = """
response:
  text: $.a
  finish_reason: {path: $.why, map: {end: stop, max: length}, unset: ["no"]}
  usage: {prompt_tokens: $.n, completion_tokens: {path: $.m, sum: true}}
  id: [$.id, {header: x-id}]
  role: $.role
  reasoning: $.thought
  tool_calls: $.calls
  logprobs: $.logs
error: {when: {$.bad: true}, message: $.said}
"""
FAST = {
    "mapped": MAPPED,
    "bare": "response: $.a",
    "deep": "response: $.data[0].output[-1]\nerror: {when: {$.message: {not: ok}}, message: $.message}",
    "first": "response: [$.a, $.b, {header: x-text}]",
    "fixed": "response: {text: {path: $.a, default: nothing}}",
}
SLOW = {
    "adjusted": "response: {finish_reason: {path: $item.finish_reason, map: {end: stop}}}",
    "choices": "response: {choices: '$.results[*]', text: $item.text}",
    "parsed": "response: {text: {path: $.a, as: json}}",
    "trimmed": "response: {text: {path: $.a, trim: true}}",
    "stripped": "response: {text: {path: $.a, strip_prompt: true}}",
    "whole": "response: $",
    "estimated": "response: $.a\nemulate: {usage: estimate}",
    "gathered": "response: false\nstream: {text: $.a}",
    "session": "response: $.a\nsession: {open: {path: /s, id: $.id}}",
}

values = json_values()
texts = st.text(max_size=5) | st.sampled_from(["", " x ", "\u2028", '"', "a\ud800", "🌊"])
slots: dict[str, st.SearchStrategy[Any]] = {
    "a": texts | values,
    "b": texts,
    "data": st.lists(st.fixed_dictionaries({"output": st.lists(texts, max_size=2)}), max_size=2),
    "message": st.sampled_from(["ok", "no", 5, None]),
    "why": st.sampled_from(["end", "max", "no", "", None, False, 7, "content_filter"]),
    "n": st.integers() | st.sampled_from(["7", "x", True, 1.5, None, 10**30]),
    "m": st.integers(),
    "id": texts | st.integers(),
    "role": texts,
    "thought": texts,
    "calls": values,
    "logs": values,
    "bad": st.booleans(),
    "said": texts,
    "error": values,
}
documents: st.SearchStrategy[Any] = st.fixed_dictionaries({}, optional=slots)
described = {name: slots[name] for name in ("why", "n", "m", "id", "role")}
good = st.fixed_dictionaries({"a": st.text(max_size=5)}, optional=described)
bodies = (
    documents.map(lambda document: json.dumps(document).encode())
    | documents.map(
        lambda document: json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    )
    | values.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=20)
    | st.sampled_from([b"", b" ", b'{"a":NaN}', b"\xef\xbb\xbf{}", b'{"a":"x"}{', b"[" * 2000, b'{"a": "x"'])
)


@given(
    st.sampled_from([*FAST]),
    bodies,
    st.sampled_from(["chat", "completions"]),
    st.sampled_from([200, 200, 200, 201, 204, 301, 400, 500]),
    st.sampled_from([1, 3, 2**20]),
    st.sampled_from([False, False, False, True]),
)
def test_the_fast_path_does_not_change_any_output(
    name: str, data: bytes, endpoint: str, status: int, size: int, cut: bool
) -> None:
    rules = FAST[name] + "\nlimits: {answer: 200}"
    options = {"status": status, "size": size, "cut": cut}
    members = {"temperature": 0.5, "n": 1, "stop": None}
    body = request(endpoint, **members)
    fast = outcome(rules, body, data, endpoint=endpoint, fast=True, **options)
    assert fast == outcome(rules, body, data, endpoint=endpoint, fast=False, **options)


@given(good, st.sampled_from(["chat", "completions"]))
def test_the_fast_path_does_not_change_usage_and_ids(document: Any, endpoint: str) -> None:
    data, body = json.dumps(document).encode(), request(endpoint)
    fast = outcome(MAPPED, body, data, endpoint=endpoint, fast=True)
    assert fast == outcome(MAPPED, body, data, endpoint=endpoint, fast=False)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_plain_text_takes_the_fast_path(name: str, endpoint: str) -> None:
    assert route(FAST[name]).plans[endpoint, False].fast_rule is not None
    response_body = {
        "a": "hi",
        "data": [{"output": ["hi"]}],
        "message": "ok",
        "why": "max",
        "n": 3,
        "id": "x",
    }
    assert uses_fast_path(FAST[name], response_body)
    assert uses_fast_path(FAST[name], response_body, n=1, stop=None)


@pytest.mark.parametrize(
    ("response_body", "members"),
    [
        ({"a": "hi", "thought": "so"}, {}),
        ({"a": "hi", "calls": []}, {}),
        ({"a": "hi", "bad": True}, {}),
        ({"a": "", "error": "no"}, {}),
        ({"a": 5}, {}),
        ({"a": "\ud800"}, {}),
        ({}, {}),
        ({"a": "hi"}, {"stop": ["x"]}),
        ({"a": "hi"}, {"n": 2}),
        ({"a": "hi"}, {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}),
    ],
)
def test_more_than_a_text_leaves_the_fast_path(response_body: Any, members: dict[str, Any]) -> None:
    rules = MAPPED + "\nrequest: {body: {p: $.prompt}}\nemulate: {n: true}"
    assert uses_fast_path(rules, {"a": "hi"})
    assert not uses_fast_path(rules, response_body, **members)


@pytest.mark.parametrize("name", SLOW)
def test_routes_with_other_rules_have_no_fast_path(name: str) -> None:
    plans = route(SLOW[name]).plans
    assert len(plans) > 1
    assert all(plan.fast_rule is None for plan in plans.values())


def test_a_stream_has_no_fast_path() -> None:
    plans = route(MAPPED + "\nstream: {text: $.t}").plans
    assert plans["chat", True].fast_rule is None
    assert plans["chat", False].fast_rule is not None


def test_an_oversized_response_is_an_error_at_its_first_excess_byte() -> None:
    exchange = new_exchange("response: $.a\nlimits: {answer: 10}")
    [call] = exchange.calls
    exchange.start(call, 200, {})
    assert exchange.feed(call, b'{"a":"0123') == b""
    assert not exchange.finished(call)
    assert exchange.feed(call, b"4") == b""
    assert exchange.finished(call)
    assert isinstance(exchange.error, UpstreamError)
    assert exchange.error.kind is UpstreamFailure.LIMIT
