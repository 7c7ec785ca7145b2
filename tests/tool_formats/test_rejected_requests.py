"""What a client sends that a format cannot say is a 400 that names it, never a garbled request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import ConfigError, RequestError
from tests.exchange.single_exchange import new_exchange, request, request_bodies, route
from tests.tool_formats.sample_responses import SERVERS
from tests.tool_formats.tool_requests import NAMED, PICK, PNG, call, result


def refused(name: str, **members: Any) -> RequestError:
    """The refusal of a request."""
    with pytest.raises(RequestError) as raised:
        new_exchange(SERVERS[name].rules, request(**members))
    assert raised.value.status == 400
    return raised.value


def _calling(*calls: Any) -> Any:
    return [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": [*calls]}]


@pytest.mark.parametrize("name", ["ollama", "anthropic", "gemini", "bedrock"])
@pytest.mark.parametrize("arguments", ["{", "[1]", "2", '"n"', "{} {}"])
def test_arguments_that_are_no_object(name: str, arguments: str) -> None:
    error = refused(name, messages=_calling(call("c1"), call("c2", arguments=arguments)))
    assert error.param == "messages[1].tool_calls[1].function.arguments"
    assert "messages[1].tool_calls[1]" in error.message


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("bad", [{}, "x", None, {"id": "c1"}, {"id": 5, "function": {"name": "f"}}, [],
                                 {"id": "c1", "function": {"name": 3}}])  # fmt: skip
def test_calls_that_are_none(name: str, bad: Any) -> None:
    assert refused(name, messages=_calling(call("c1"), bad)).param == "messages[1].tool_calls[1]"


@pytest.mark.parametrize("name", SERVERS)
def test_results_of_no_call(name: str) -> None:
    error = refused(name, messages=[{"role": "tool", "content": "red"}])
    assert error.param == "messages[0].tool_call_id"


def test_a_result_whose_tool_gemini_cannot_be_told() -> None:
    talk = [{"role": "user", "content": "hi"}, result("lost", "red")]
    error = refused("gemini", messages=talk)
    assert error.param == "messages[1].tool_call_id"
    named = {**result("lost", "red"), "name": "pick"}
    new_exchange(SERVERS["gemini"].rules, request(messages=[named]))


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(
    "bad",
    [{}, "x", 5, None, {"type": "function"}, {"type": "function", "function": {}}, {"type": "custom"},
     {"type": "web_search", "function": {"name": "f"}}, {"function": {"name": "f", "parameters": []}},
     {"function": {"name": "f", "description": 5}}],
)  # fmt: skip
def test_tools_that_are_no_functions(name: str, bad: Any) -> None:
    param = refused(name, tools=[PICK, bad]).param
    assert param is not None
    assert param.startswith("tools[1]")


@pytest.mark.parametrize(
    "choice",
    ["any", {}, {"type": "tool"}, {"type": "function", "function": {"name": "other"}},
     {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
     {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": [NAMED]}}],
)  # fmt: skip
def test_choices_of_nothing(choice: Any) -> None:
    assert refused("anthropic", tools=[PICK], tool_choice=choice).param == "tool_choice"


@pytest.mark.parametrize("name", ["ollama", "gemini", "bedrock"])
@pytest.mark.parametrize(
    "url", ["https://example.org/a.png", "data:image/png,hi", "data:;base64,aGk=", "file:///a.png", "", "x"]
)
def test_images_that_a_server_does_not_fetch(name: str, url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    error = refused(name, messages=[{"role": "user", "content": [{"type": "text", "text": "what?"}, part]}])
    assert (error.param, error.code) == ("messages[0].content[1].image_url.url", "unsupported_content")


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("part", [{"type": "input_audio", "input_audio": {}}, {"type": "image_url"}, {}])
def test_parts_that_no_format_has(name: str, part: Any) -> None:
    error = refused(name, messages=[{"role": "user", "content": [part]}])
    assert (error.param, error.code) == ("messages[0].content[0]", "unsupported_content")


def test_images_where_only_text_can_be() -> None:
    system = [{"role": "system", "content": [PNG]}, {"role": "user", "content": "hi"}]
    assert refused("anthropic", messages=system).param == "messages[0].content"
    talk = [{"role": "assistant", "tool_calls": [call("c1")]}, result("c1", [PNG])]
    assert refused("cohere", messages=talk).param == "messages[1].content[0]"


@pytest.mark.parametrize(
    "rules",
    [
        "tools: ollama",
        "tools: ollama\nrequest: {fields: {a: 1}}",
        "tools: ollama\nrequest: {body: {}}\nresponse: $.t\nstream: {request: {fields: {a: 1}}, text: $.t}",
    ],
)
def test_a_format_without_a_body_to_write_it_in(rules: str) -> None:
    with pytest.raises(ConfigError) as raised:
        route(rules)
    [problem] = raised.value.problems
    assert "`request.body`" in str(problem)
    assert "tools" in str(problem)


def test_a_format_that_is_not_known() -> None:
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
