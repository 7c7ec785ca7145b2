"""Samples: checked as a client's request, never untested, and never the cause of a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.samples import check_sample
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.rules.settings import SampleSpec
from bridge.routes.table import load
from tests.cli.command import Run, run

if TYPE_CHECKING:
    from bridge.routes.rules.route import Route

__all__ = ["run"]

ROUTE = """\
routes:
  - models: m
    serves: [chat, completions, embeddings, images]
    upstream: http://127.0.0.1:1/api?v=1
    request: {{body: {{text: $.prompt, raw: $.raw.input}}}}
    response: {{text: $.text, embeddings: $.vectors, images: "$.images[*]"}}
    stream: $.delta
    samples:
      - {sample}
"""
SLOW = "answers: {error: {type: requests}}"
FAILED = "answers: {error: {type: server_error}}"
HI = "{messages: [{role: user, content: hi}]}"


@pytest.mark.parametrize(
    ("request_", "shown"),
    [
        ("hello", "request: `hello` is not allowed here"),
        ("[]", "request: an empty list is not allowed here"),
        ("null", "request: nothing is not allowed here"),
        ("5", "request: the number 5 is not allowed here"),
        ("{}", "400: `messages` is missing"),
        ("{messages: hello}", "400: `messages` must be"),
        ("{messages: []}", "400: `messages` must not be empty"),
        ("{messages: {role: user}}", "400: `messages` must be"),
        ("{messages: [hello]}", "400: `messages[0]` must be an object"),
        ("{messages: [{content: hi}]}", "400: `messages[0].role` is missing"),
        ("{messages: [{role: user, content: 5}]}", "400: `messages[0].content` must be"),
        ("{messages: [{role: user, content: [5]}]}", "400: "),
        ("{messages: [{role: user, content: hi}], temperature: hot}", "400: `temperature` must be"),
        ("{messages: [{role: user, content: hi}], max_tokens: many}", "400: `max_tokens` must be"),
        ("{messages: [{role: user, content: hi}], stop: {a: 1}}", "400: `stop` must be"),
        ("{messages: [{role: user, content: hi}], stream: maybe}", "400: `stream` must be"),
        ("{messages: [{role: user, content: hi}], n: 0}", "400: `n` must be"),
        ("{messages: [{role: user, content: hi}], model: 5}", "400: `model` must be"),
        ("{messages: [{role: user, content: hi}], tools: hammer}", "400: `tools` must be"),
        ("{prompt: hi}", "400: `messages` is missing"),
        ("{input: hi}", "400: `messages` is missing"),
    ],
)
def test_a_malformed_request_is_reported_at_its_place(request_: str, shown: str, run: Run) -> None:
    result = run("check", "routes.yaml", text=ROUTE.format(sample=f"{{request: {request_}, sends: {{}}}}"))
    assert result.code == 1
    assert "routes.yaml:9:" in result.out
    assert shown in result.out
    assert result.errors == "routes.yaml: 1 problem\n"


@pytest.mark.parametrize(
    ("sample", "shown"),
    [
        (f"{{request: {HI}}}", "the sample checks nothing: expected `sends`"),
        (f"{{request: {HI}, status: 500}}", "the sample checks nothing"),
        (f"{{request: {HI}, answers: hello}}", "without `receives`, no response is checked"),
        (f"{{request: {HI}, sends: {{text: hi}}, answers: hello}}", "without `receives`"),
        (f"{{request: {HI}, url: /ap}}", "the request is sent to /api?v=1"),
        (f"{{request: {HI}, url: 'http://127.0.0.1:1/api'}}", "sent to http://127.0.0.1:1/api?v=1"),
        (f"{{request: {HI}, receives: {{text: a}}, answers: {{error: {{}}}}}}", "$.error is missing"),
        (f"{{request: {HI}, receives: {{t: a}}, answers: a}}", "the response is an error: "),
        (f"{{request: {HI}, receives: {{text: a}}, answers: [a]}}", "answers"),
        ("{endpoint: embeddings, request: {input: hi}, receives: {vectors: [1]}, answers: no}", "$.data"),
        ("{endpoint: images, request: {prompt: hi}, receives: {images: [x]}, answers: 5}", "an error"),
    ],
)
def test_a_sample_without_effect_or_with_a_difference_is_a_problem(sample: str, shown: str, run: Run) -> None:
    result = run("check", "routes.yaml", text=ROUTE.format(sample=sample))
    assert result.code == 1
    assert shown in result.out


@pytest.mark.parametrize(
    "sample",
    [
        f"{{request: {HI}, url: '/api?v=1'}}",
        f"{{request: {HI}, url: 'http://127.0.0.1:1/api?v=1'}}",
        f"{{request: {HI}, receives: {{text: a}}}}",
        "{request: {messages: 5}, answers: {error: {param: messages}}}",
        f"{{request: {HI}, status: 429, headers_in: {{a: 7}}, receives: slow, {SLOW}}}",
        f"{{request: {HI}, status: 503, response_headers: {{a: 7}}, receives: x, {FAILED}}}",
    ],
)
def test_a_sample_that_holds(sample: str, run: Run) -> None:
    assert run("check", "routes.yaml", text=ROUTE.format(sample=sample)).code == 0


def test_an_endpoint_that_the_route_does_not_serve_is_a_problem(run: Run) -> None:
    text = "routes: [{models: m, upstream: 'http://h/c', response: $.t, samples: [%s]}]"
    sample = "{endpoint: images, request: {prompt: hi}, receives: {}}"
    result = run("check", "routes.yaml", text=text % sample)
    assert "the route does not serve `images`" in result.out


JSON = st.recursive(
    st.sampled_from([None, True, 0, 1, -1.5, "", "hi", "user", "data: {}\n\n", 10**30]),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["messages", "role", "content", "model", "stream", "n", "stop", "prompt", "input", "tools",
                 "text", "delta", "vectors", "images", "error", "choices", "usage", "message", "x"]
            ),
            below,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    request=st.one_of(
        JSON, st.just({"messages": [{"role": "user", "content": "hi"}]}), st.just({"input": "a"})
    ),
    endpoint=st.sampled_from(["chat", "completions", "embeddings", "images"]),
    members=st.dictionaries(st.sampled_from(["sends", "receives", "answers"]), JSON),
    status=st.sampled_from([200, 302, 429, 500]),
)
def test_any_sample_is_checked(request: Any, endpoint: str, members: dict[str, Any], status: int) -> None:
    sample = SampleSpec(
        request=request if isinstance(request, dict) else {}, endpoint=endpoint, status=status, **members
    )
    for key, message in check_sample(_route(), sample):
        assert isinstance(key, str)
        assert message


def _route() -> Route:
    return load(
        ROUTE.format(sample="{}").partition("    samples")[0], "r", LoadEnvironment({}, str, {})
    ).routes[0]
