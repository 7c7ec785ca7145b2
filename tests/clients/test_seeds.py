"""Routes of the first users: upstream requests and responses of AutoDev, LiteLLM and llmapi-server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.bridge_process import running
from tests.clients.expected import ECHO
from tests.clients.recorded_upstream import stream_pieces
from tests.raw_upstream import http_response
from tests.recordings import read_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bridge_process import BridgeProcess
    from tests.clients.recorded_upstream import RecordedUpstream
    from tests.raw_client import Response

FILE = Path(__file__).with_name("seeds.yaml")
COMPLETION = {"choices": [{"message": {"role": "assistant", "content": "Deep"}}]}


@pytest.fixture(scope="module")
def bridge(upstream: RecordedUpstream) -> Iterator[BridgeProcess]:
    with running(FILE, variables={"UPSTREAM": upstream.url, "LLMAPI": "http://127.0.0.1:9"}) as bridge:
        yield bridge


def test_the_published_example_of_renamed_keys(bridge: BridgeProcess, upstream: RecordedUpstream) -> None:
    upstream.set_response("/made/vector", http_response(COMPLETION))
    body = {"model": "vector", "messages": [{"role": "robot", "content": "hello"}], "temperature": 0.5}
    response = bridge.send("POST", "/v1/chat/completions", json.dumps(body).encode())
    assert text(response) == "Deep"
    assert upstream.latest_request("/made/vector").data == (
        b'{"messages":[{"anyRoleKey":"robot","anyContentKey":"hello"}],"user":"userid","date":"2012"}'
    )


def test_pasted_settings_of_autodev_are_accepted(bridge: BridgeProcess, upstream: RecordedUpstream) -> None:
    upstream.set_response("/made/pasted", http_response(COMPLETION))
    assert text(bridge.ask("pasted")) == "Deep"
    request = upstream.latest_request("/made/pasted")
    assert request.body == {
        "model": "gpt-4",
        "messages": [{"role": "user", "message": "hi"}],
        "user": "12345",
        "date": "2012",
    }
    names = ("customheader", "authorization", "x-number", "x-truth")
    assert [request.headers[name] for name in names] == ["my-value", "Bearer sk-1", "7", "true"]


def test_a_path_with_trailing_spaces_is_accepted(bridge: BridgeProcess, upstream: RecordedUpstream) -> None:
    pieces = [{"choices": [{"delta": {"content": word}}]} for word in ("De", "ep")]
    upstream.set_response("/made/pasted", *stream_pieces(*pieces, "[DONE]"))
    assert streamed(bridge.ask("pasted", stream=True)) == "Deep"
    assert upstream.latest_request("/made/pasted").body["stream"] is True


def test_stream_may_be_sent_as_a_number(bridge: BridgeProcess, upstream: RecordedUpstream) -> None:
    upstream.set_response(
        "/made/number", *stream_pieces({"choices": [{"delta": {"content": "Deep"}}]}, "[DONE]")
    )
    assert text(bridge.ask("number")) == "Deep"
    assert b'"stream":1' in upstream.latest_request("/made/number").data


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "path", "suggestion"),
    [
        ("documented", "$.choices[0].message.delta.content", "$.choices[0].delta.content"),
        ("documented-whole", "$.choices[0].message.delta.content", "$.choices[0].message.content"),
        ("custom-strict", "$.data[0].output[0]", "$.data[0].output"),
    ],
)
def test_the_error_of_a_wrong_path_suggests_the_right_path(
    bridge: BridgeProcess, upstream: RecordedUpstream, model: str, path: str, suggestion: str, *, stream: bool
) -> None:
    upstream.set_response("/made/custom", http_response({"data": [{"output": "hello"}], "message": "ok"}))
    response = bridge.ask(model, stream=stream)
    assert (response.status, response.error()["code"]) == (502, "upstream_empty")
    matched, _, suggestions = response.error()["message"].partition("; ")
    assert f"`{path}` matched no text" in matched
    assert suggestion in suggestions.removeprefix("text is at ").split(", ")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["moonshot", "moonshot-both"])
def test_a_json_body_in_place_of_a_stream_is_read(bridge: BridgeProcess, model: str, *, stream: bool) -> None:
    response = bridge.ask(model, stream=stream)
    assert (streamed if stream else text)(response) == f"{ECHO}Say this is a test"


@pytest.mark.parametrize("output", [["hello"], "hello"])
def test_the_request_of_litellm_is_built(
    bridge: BridgeProcess, upstream: RecordedUpstream, output: object
) -> None:
    upstream.set_response("/made/custom", http_response({"data": [{"output": output}], "message": "ok"}))
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert text(bridge.ask("custom", messages=messages, max_tokens=10, temperature=0.2)) == "hello"
    assert upstream.latest_request("/made/custom").data == (
        b'{"model":"meta-llama/Llama-2-13b-hf","params":{"prompt":["Be brief. hi"],'
        b'"max_tokens":10,"temperature":0.2,"top_p":null,"top_k":null}}'
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_with_status_200_has_the_upstream_message(
    bridge: BridgeProcess, upstream: RecordedUpstream, demo: BridgeProcess, *, stream: bool
) -> None:
    upstream.set_response("/made/custom", http_response({"data": [], "message": "error: out of memory"}))
    for response in (
        bridge.ask("custom", stream=stream),
        demo.ask("llama-2-13b", "please fail", stream=stream),
    ):
        assert response.status == 502
        assert response.error()["message"] == "error: out of memory"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "status", "message", "code"),
    [
        ("0/llmapi_ask_bad_session", 404, "Session invalid", "-4"),
        ("no-such-bot", 404, "Bot type invalid", "-5"),
        ("0/llmapi_b_fail_ask", 504, "Reply timeout", "-6"),
    ],
)
def test_error_codes_of_llmapi_are_mapped(
    recorded: BridgeProcess, model: str, status: int, message: str, code: str, *, stream: bool
) -> None:
    response = recorded.ask(model, stream=stream)
    assert response.status == status
    assert (response.error()["message"], response.error()["code"]) == (message, code)


def test_recordings_have_the_error_codes_of_llmapi() -> None:
    names = ("llmapi_ask_bad_session", "llmapi_start_bad_bot", "llmapi_b_fail_ask")
    assert [json.loads(read_response(name).body)["code"] for name in names] == [-4, -5, -6]


def text(response: Response) -> str:
    """Return the text of a completion."""
    assert response.status == 200, response
    (choice,) = response.json["choices"]
    assert choice["finish_reason"] == "stop"
    return str(choice["message"]["content"])


def streamed(response: Response) -> str:
    """Return the text of a stream."""
    assert response.status == 200, response
    *pieces, done = [event.removeprefix("data: ") for event in response.body.decode().split("\n\n")[:-1]]
    assert done == "[DONE]"
    choices: list[dict[str, Any]] = [choice for piece in pieces for choice in json.loads(piece)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
