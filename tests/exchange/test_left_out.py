"""Parameters that a template leaves out of one request are named as dropped."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exchange.single_exchange import new_exchange, request

CALM = "[{$.effort: {exists: false}}, {$.effort: [none]}]"
BODY = (
    "request: {body: {m: $.messages, t: {$path: $.temperature, when: CALM}, p: {$path: $.top_p, when: CALM},"
    " think: {$when: {$.effort: {exists: true, not: none}, $.user: {exists: false}}, $then: {e: $.effort}}}}"
).replace("CALM", CALM)


@pytest.mark.parametrize(
    ("members", "dropped"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, ()),
        ({"temperature": 0.5, "effort": "none"}, ()),
        ({"temperature": 0.5, "top_p": 0.9, "effort": "high"}, ("temperature", "top_p")),
        ({"effort": "high"}, ()),
        ({"effort": "high", "user": "u"}, ("effort",)),
        ({"effort": "none", "user": "u"}, ()),
        ({"temperature": None, "effort": "high"}, ()),
    ],
)
def test_what_conditions_exclude_is_named(members: dict[str, Any], dropped: tuple[str, ...]) -> None:
    """A condition on other parameters excludes a parameter; its own entries only read its value."""
    assert new_exchange(BODY, request(**members)).dropped == dropped


@pytest.mark.parametrize(
    "template",
    [
        "{a: {$path: $.x, when: {$.y: 1}}, b: $.x}",
        "{a: {$path: $.x, when: {$.y: 1}}, b: {$path: $.x, when: {$.y: {exists: false}}}}",
        "{a: {$when: {$.y: 1}, $then: $.x, $else: [$.x]}}".replace("[$.x]", "['$.x']"),
        "{a: {$path: $.x, above: 5}}",
        "{a: {$path: $.x, when: {$.x: 7}}}",
        "{a: {$each: $.messages, $as: {$when: {$item.role: user}, $then: {b: $.x}}}}",
    ],
)
def test_a_parameter_that_another_leaf_sends_is_not_named(template: str) -> None:
    """One leaf suffices, and a bound is a meaning of the value."""
    assert new_exchange(f"request: {{body: {template}}}", request(x=1)).dropped == ()


def test_parameters_that_are_left_out_are_not_refused() -> None:
    """`unsupported: error` is about parameters that a route never sends."""
    body = request(temperature=0.5, effort="high")
    assert new_exchange(f"{BODY}\nunsupported: error", body).dropped == ("temperature",)


@pytest.mark.parametrize(
    ("message", "dropped"),
    [
        (
            {"reasoning_content": "hm", "reasoning_signature": "S"},
            ("reasoning_content", "reasoning_signature"),
        ),
        ({"reasoning_content": None, "refusal": None, "annotations": []}, ()),
        ({"reasoning": "hm", "name": "ann"}, ("reasoning",)),
    ],
)
def test_members_of_messages_without_a_place_are_named(
    message: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    """A tool format has no place for earlier reasoning."""
    messages = [*request()["messages"], {"role": "assistant", "content": "4", **message}]
    rules = "tools: anthropic\nrequest: {body: {messages: $.turns}}"
    assert new_exchange(rules, request(messages=messages)).dropped == dropped
    assert new_exchange("", request(messages=messages)).dropped == ()
