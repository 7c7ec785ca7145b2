"""Validation of request bodies: members that the bridge uses are checked, and errors name the parameter."""

from __future__ import annotations

import json
import tracemalloc
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


def nested(levels: int) -> dict[str, Any]:
    """Return a body whose brackets nest this deep."""
    return {**HI, "x": json.loads("[" * (levels - 1) + "]" * (levels - 1))}


def test_a_body_nests_up_to_100_levels() -> None:
    assert parse_request(CHAT, json.dumps(nested(100)).encode()) == nested(100)
    assert "deeper than 100 levels" in request_error(nested(101)).message


@pytest.mark.parametrize("count", [101, 1023, 1025, 500_000])
def test_brackets_without_end_are_refused(count: int) -> None:
    for data in (
        b"[" * count,
        b"[" * count + b"]" * count,
        b'{"a":' * count,
        b'{"a":' * count + b"}" * count,
    ):
        assert request_error(data).code == "invalid_json"


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b'"]'])
def test_an_unclosed_string_after_many_brackets_takes_linear_time(end: bytes) -> None:
    # With the square, 64 KB took 11 seconds: the 2 MB here would take hours.
    assert request_error(b"[" * 101 + b'"' + b'\\"' * 1_000_000 + end).code == "invalid_json"


def test_a_photo_in_a_long_chat_is_not_copied() -> None:
    """Ordinary chats have more than 100 brackets too. orjson itself reserves 13 bytes for each byte."""
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3_000_000}}
    messages = [*[{"role": "user", "content": [{"type": "text", "text": "hi"}]}] * 50]
    data = json.dumps({**HI, "messages": [*messages, {"role": "user", "content": [part]}]}).encode()
    tracemalloc.start()
    parse_request(CHAT, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * len(data)


def test_a_body_has_up_to_max_values() -> None:
    data = json.dumps({**HI, "x": [0] * 50, "y": ",[{" * 100}).encode()
    count = 2 + 1 + 3 + 1 + 49 + 1  # commas and opening brackets, in the order of the members
    parse_request(CHAT, data, max_values=count)
    with pytest.raises(RequestError) as raised:
        parse_request(CHAT, data, max_values=count - 1)
    error = raised.value
    assert (error.status, error.code) == (400, "too_many_values")
    assert "limits.values" in error.message


def test_values_are_counted_before_the_body_is_parsed() -> None:
    tracemalloc.start()
    with pytest.raises(RequestError):
        parse_request(CHAT, b"[" + b"{}," * 500_000 + b"0]", max_values=100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_model_name_has_up_to_256_characters() -> None:
    body = {**HI, "model": "é" * 256}
    assert parse_request(CHAT, json.dumps(body).encode()) == body
    error = request_error({**HI, "model": "m" * 257})
    assert (error.param, error.code) == ("model", "string_above_max_length")
    assert "256" in error.message


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (b'{"model":"hidden","messages":[],"model":"m"}', "model"),
        (b'{"mod\\u0065l":"hidden","messages":[],"model":"m"}', "model"),
        (b'{"\\u006Dodel":"hidden","messages":[],"model":"m"}', "model"),
        (b'{"model":"m","messages":[],"x":1,"\\u0078":2}', "x"),
        (b'{"model":"m","MODEL":"hidden","messages":[]}', "MODEL"),
        (b'{"Model":"hidden","model":"m","messages":[]}', "Model"),
        ('{"model":"m","messages":[],"me\u017f\u017fages":[]}'.encode(), "me\u017f\u017fages"),
        (b'{"model":"m","messages":[],"Stream":true}', "Stream"),
        (b'{"model":"m","messages":[],"topK":1,"topk":2}', "topk"),
    ],
)
def test_names_that_servers_may_read_otherwise_are_refused(data: bytes, param: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_request(CHAT, data)
    assert (raised.value.status, raised.value.param) == (400, param)
    assert raised.value.code == "duplicate_parameter"


@pytest.mark.parametrize(
    "more",
    [
        {"topK": 1, "Extra": {"model": "x", "Model": "y"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"model": {}}}}]},
        {"messages": [{"role": "user", "content": 'is "model" < "\\u0001"?', "model": "x"}]},
    ],
)
def test_names_below_the_first_level_may_be_equal(more: dict[str, Any]) -> None:
    body = {**HI, **more}
    assert parse_request(CHAT, json.dumps(body).encode()) == body


def test_many_names_with_a_repeated_one_are_refused_in_linear_time() -> None:
    names = ",".join(f'"x{number}":"\\u0061"' for number in range(9_000))
    with pytest.raises(RequestError, match="more than once"):
        parse_request(CHAT, f'{{"model":"m","messages":[],{names},"x8999":1}}'.encode())
