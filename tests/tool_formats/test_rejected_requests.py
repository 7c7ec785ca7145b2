"""Requests that a tool format cannot express: refused with 400 and the parameter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import ConfigError, RequestError
from tests.exchange.single_exchange import new_exchange, request, request_bodies, route
from tests.tool_formats.sample_responses import SERVERS
from tests.tool_formats.tool_requests import NAMED, PICK, PNG, call, result


def refusal(name: str, **members: Any) -> RequestError:
    """Return the error of a refused request."""
    with pytest.raises(RequestError) as raised:
        new_exchange(SERVERS[name].rules, request(**members))
    assert raised.value.status == 400
    return raised.value


def _with_calls(*calls: Any) -> Any:
    return [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": [*calls]}]


@pytest.mark.parametrize("name", ["ollama", "anthropic", "gemini", "bedrock"])
@pytest.mark.parametrize("arguments", ["{", "[1]", "2", '"n"', "{} {}"])
def test_arguments_that_are_not_an_object_are_refused(name: str, arguments: str) -> None:
    error = refusal(name, messages=_with_calls(call("c1"), call("c2", arguments=arguments)))
    assert error.param == "messages[1].tool_calls[1].function.arguments"
    assert "messages[1].tool_calls[1]" in error.message


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("invalid", [{}, "x", None, {"id": "c1"}, {"id": 5, "function": {"name": "f"}}, [],
                                 {"id": "c1", "function": {"name": 3}}])  # fmt: skip
def test_invalid_tool_calls_are_refused(name: str, invalid: Any) -> None:
    assert refusal(name, messages=_with_calls(call("c1"), invalid)).param == "messages[1].tool_calls[1]"


@pytest.mark.parametrize("name", SERVERS)
def test_a_tool_result_without_a_call_id_is_refused(name: str) -> None:
    error = refusal(name, messages=[{"role": "tool", "content": "red"}])
    assert error.param == "messages[0].tool_call_id"


def test_a_tool_result_of_an_unknown_call_is_refused_for_gemini() -> None:
    talk = [{"role": "user", "content": "hi"}, result("lost", "red")]
    error = refusal("gemini", messages=talk)
    assert error.param == "messages[1].tool_call_id"
    named = {**result("lost", "red"), "name": "pick"}
    new_exchange(SERVERS["gemini"].rules, request(messages=[named]))


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(
    "invalid",
    [{}, "x", 5, None, {"type": "function"}, {"type": "function", "function": {}}, {"type": "custom"},
     {"type": "web_search", "function": {"name": "f"}}, {"function": {"name": "f", "parameters": []}},
     {"function": {"name": "f", "description": 5}}],
)  # fmt: skip
def test_tools_other_than_functions_are_refused(name: str, invalid: Any) -> None:
    param = refusal(name, tools=[PICK, invalid]).param
    assert param is not None
    assert param.startswith("tools[1]")


@pytest.mark.parametrize(
    "choice",
    ["any", {}, {"type": "tool"}, {"type": "function", "function": {"name": "other"}},
     {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
     {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": [NAMED]}}],
)  # fmt: skip
def test_invalid_tool_choices_are_refused(choice: Any) -> None:
    assert refusal("anthropic", tools=[PICK], tool_choice=choice).param == "tool_choice"


@pytest.mark.parametrize("name", ["ollama", "gemini", "bedrock"])
@pytest.mark.parametrize(
    "url", ["https://example.org/a.png", "data:image/png,hi", "data:;base64,aGk=", "file:///a.png", "", "x"]
)
def test_image_urls_are_refused_for_upstreams_that_do_not_fetch(name: str, url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    error = refusal(name, messages=[{"role": "user", "content": [{"type": "text", "text": "what?"}, part]}])
    assert (error.param, error.code) == ("messages[0].content[1].image_url.url", "unsupported_content")


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("part", [{"type": "input_audio", "input_audio": {}}, {"type": "image_url"}, {}])
def test_unsupported_content_parts_are_refused(name: str, part: Any) -> None:
    error = refusal(name, messages=[{"role": "user", "content": [part]}])
    assert (error.param, error.code) == ("messages[0].content[0]", "unsupported_content")


def test_images_are_refused_if_only_text_is_possible() -> None:
    system = [{"role": "system", "content": [PNG]}, {"role": "user", "content": "hi"}]
    assert refusal("anthropic", messages=system).param == "messages[0].content"
    talk = [{"role": "assistant", "tool_calls": [call("c1")]}, result("c1", [PNG])]
    assert refusal("cohere", messages=talk).param == "messages[1].content[0]"


@pytest.mark.parametrize(
    "rules",
    [
        "tools: ollama",
        "tools: ollama\nrequest: {fields: {a: 1}}",
        "tools: ollama\nrequest: {body: {}}\nresponse: $.t\nstream: {request: {fields: {a: 1}}, text: $.t}",
    ],
)
def test_a_tool_format_requires_a_body_template(rules: str) -> None:
    with pytest.raises(ConfigError) as raised:
        route(rules)
    [problem] = raised.value.problems
    assert "`request.body`" in str(problem)
    assert "tools" in str(problem)


def test_an_unknown_tool_format_is_reported() -> None:
    with pytest.raises(ConfigError) as raised:
        route("tools: antropic\nrequest: {body: {m: $.messages}}")
    assert "anthropic" in str(raised.value)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(
        ["", "x", "c1", "function", "tool", "assistant", "text", "image_url", "{}", "{", "auto", "required",
         "allowed_tools", "object", "array", "data:image/png;base64,aGk=", "https://x/y.png", "\ud800"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["id", "type", "function", "name", "arguments", "parameters", "description", "text", "image_url",
             "url", "mode", "tools", "allowed_tools", "properties", "items", "anyOf", "$ref", "extra_content"]
        ),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
    optional={
        "content": ODD,
        "tool_calls": ODD | st.lists(st.just(call("c1")) | ODD, max_size=3),
        "tool_call_id": st.just("c1") | ODD,
        "name": ODD,
    },
)


@pytest.mark.parametrize("name", SERVERS)
@given(
    messages=st.lists(MESSAGE, min_size=1, max_size=4),
    tools=st.none() | st.lists(st.just(PICK) | ODD, max_size=2),
    choice=st.sampled_from([None, "auto", "none", "required", NAMED]) | ODD,
)
def test_any_request_is_refused_or_sent(name: str, messages: Any, tools: Any, choice: Any) -> None:
    try:
        [body] = request_bodies(
            new_exchange(SERVERS[name].rules, request(messages=messages, tools=tools, tool_choice=choice))
        )
    except RequestError as error:
        assert (error.status, bool(error.param)) == (400, True)  # noqa: PT017
    else:
        assert isinstance(body["contents" if name == "gemini" else "messages"], list)
