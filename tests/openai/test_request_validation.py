"""Validation of request bodies: members that the bridge uses are checked, and errors name the parameter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core.errors import RequestError
from bridge.openai.endpoints import CHAT, COMPLETIONS, ENDPOINTS
from bridge.openai.request_validation import parse_request

HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def request_error(data: Any, endpoint: str = "chat") -> RequestError:
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(RequestError) as raised:
        parse_request(ENDPOINTS[endpoint], data)
    error = raised.value
    assert error.status == 400
    assert error.envelope["error"]["type"] == "invalid_request_error"
    return error


@pytest.mark.parametrize("data", [b"", b"{", b"no", b"[]", b'"hi"', b"null", b"5", b"\xff\xfe", b'{"model":'])
def test_a_body_that_is_not_a_json_object_is_refused(data: bytes) -> None:
    assert request_error(data).param is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": HI["messages"]}, "model"),
        ({**HI, "model": None}, "model"),
        ({**HI, "model": ""}, "model"),
        ({**HI, "model": 5}, "model"),
        ({**HI, "model": "\ud800"}, "model"),
        ({"model": "m"}, "messages"),
        ({**HI, "messages": None}, "messages"),
        ({**HI, "messages": []}, "messages"),
        ({**HI, "messages": "hi"}, "messages"),
        ({**HI, "messages": ["hi"]}, "messages[0]"),
        ({**HI, "messages": [{"content": "hi"}]}, "messages[0].role"),
        ({**HI, "messages": [HI["messages"][0], {"role": 5}]}, "messages[1].role"),
        ({**HI, "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({**HI, "messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        ({**HI, "stream": "yes"}, "stream"),
        ({**HI, "stream_options": True}, "stream_options"),
        ({**HI, "n": 0}, "n"),
        ({**HI, "n": "2"}, "n"),
        ({**HI, "n": True}, "n"),
        ({**HI, "stop": 5}, "stop"),
        ({**HI, "stop": ["a", 5]}, "stop"),
        ({**HI, "max_tokens": "5"}, "max_tokens"),
        ({**HI, "temperature": "hot"}, "temperature"),
        ({**HI, "temperature": True}, "temperature"),
        ({**HI, "tools": {}}, "tools"),
    ],
)
def test_the_error_names_the_parameter(body: dict[str, Any], param: str) -> None:
    error = request_error(body)
    assert error.param == param
    assert param.split("[")[0] in error.message


@pytest.mark.parametrize("prompt", [None, [], {}, 5, ["a", 5], [["a"]], [1, "a"], [1.5]])
def test_invalid_prompts_are_refused(prompt: Any) -> None:
    assert request_error({"model": "m", "prompt": prompt}, "completions").param == "prompt"


@pytest.mark.parametrize("prompt", ["", "hi", ["a", "b"], [1, 2], [[1], [2, 3]]])
def test_valid_prompts_are_accepted(prompt: Any) -> None:
    body = {"model": "m", "prompt": prompt}
    assert parse_request(COMPLETIONS, json.dumps(body).encode()) == body


@pytest.mark.parametrize(
    "more",
    [
        {"x": {"any": ["thing", None]}},
        {"stream": None, "n": None, "stop": None, "temperature": None, "stream_options": None},
        {"stop": ["a"], "n": 2, "temperature": 0, "seed": -1, "logprobs": True, "top_logprobs": 2},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
    ],
)
def test_unknown_members_are_accepted(more: dict[str, Any]) -> None:
    body = {**HI, **more}
    assert parse_request(CHAT, json.dumps(body).encode()) == body
