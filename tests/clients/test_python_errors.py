"""Error classes of the official Python client: status, code and message of each error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.bridge_process import running
from tests.clients.recorded_upstream import stream_pieces
from tests.raw_upstream import http_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openai.types.chat import ChatCompletionMessageParam

    from tests.bridge_process import BridgeProcess
    from tests.clients.recorded_upstream import RecordedUpstream

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
CHUNK = {"choices": [{"index": 0, "delta": {"content": "Deep"}}]}


@pytest.fixture(scope="module")
def client(recorded: BridgeProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{recorded.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    ("parameters", "param", "code"),
    [
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": [1]}, "messages[0]", "invalid_type"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "invalid_type"),
        ({"messages": HI, "temperature": "hot"}, "temperature", "invalid_type"),
        ({"messages": HI, "max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"messages": HI, "n": 0}, "n", "invalid_type"),
        ({"messages": HI, "stop": [1]}, "stop", "invalid_type"),
        ({"messages": HI, "model": 1}, "model", "invalid_type"),
        ({"messages": HI, "model": ""}, "model", "invalid_value"),
    ],
)
def test_an_invalid_parameter_is_a_bad_request(
    client: OpenAI, parameters: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**{"model": "0/tds_nonstream", **parameters})
    error = raised.value
    assert (error.status_code, error.param, error.code) == (400, param, code)
    assert error.type == "invalid_request_error"
    assert f"`{param}`" in error.message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b"null", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"{}", "missing_required_parameter"),
        (b'{"model": "0/tds_nonstream"}', "missing_required_parameter"),
    ],
)
def test_an_invalid_body_is_a_bad_request(recorded: BridgeProcess, body: bytes, code: str) -> None:
    response = recorded.send("POST", "/v1/chat/completions", body)
    assert (response.status, response.error()["code"]) == (400, code)
    assert response.error()["message"]
    assert response.headers["x-request-id"]


def test_a_compressed_body_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("routes: [{models: m, upstream: http://127.0.0.1:9}]")
    with running(file) as bridge:
        response = bridge.send("POST", "/v1/chat/completions", b"{}", **{"Content-Encoding": "gzip"})
        assert (response.status, response.error()["code"]) == (415, "unsupported_encoding")


def test_an_image_for_an_upstream_of_text_is_a_bad_request(client: OpenAI) -> None:
    url = "data:image/png;base64,AA=="
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(
            model="0/llmapi_ask_ok",
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
        )
    assert (raised.value.param, raised.value.code) == ("messages[0].content", "unsupported_content")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/completions", "/v1/models", "/v1/models/m"])
def test_a_missing_key_is_refused(locked: BridgeProcess, path: str) -> None:
    response = locked.send("POST", path, b"{}")
    assert (response.status, response.error()["code"]) == (401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("key", ["wrong", "sk-righ", "sk-right2", "sk-right,other"])
def test_a_wrong_key_is_an_authentication_error(locked: BridgeProcess, key: str) -> None:
    with OpenAI(base_url=locked.url, api_key=key, max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as raised:
            client.chat.completions.create(model="m", messages=HI)
        assert (raised.value.code, raised.value.type) == ("invalid_api_key", "invalid_request_error")
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


@pytest.mark.parametrize("key", ["sk-right", "other"])
def test_a_valid_key_is_accepted(locked: BridgeProcess, upstream: RecordedUpstream, key: str) -> None:
    with OpenAI(base_url=locked.url, api_key=key, max_retries=0) as client:
        assert client.chat.completions.create(model="m", messages=HI).choices[0].message.content
        assert [model.id for model in client.models.list()] == ["m"]
    assert "authorization" not in upstream.latest_request("/0/tds_nonstream").headers


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    calls: list[Callable[[], object]] = [
        lambda: client.chat.completions.create(model="gone", messages=HI),
        lambda: client.chat.completions.create(model="gone", messages=HI, stream=True),
        lambda: client.completions.create(model="gone", prompt="hi"),
        lambda: client.models.retrieve("gone"),
    ]
    for call in calls:
        with pytest.raises(openai.NotFoundError) as raised:
            call()
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")
        assert "`gone`" in raised.value.message


def test_a_model_of_another_endpoint_is_not_found(demo: BridgeProcess) -> None:
    with (
        OpenAI(base_url=demo.url, api_key="none", max_retries=0) as client,
        pytest.raises(openai.NotFoundError) as raised,
    ):
        client.completions.create(model="gpt-1337-turbo-pro-max", prompt="hi")
    assert raised.value.param == "model"
    assert "`gpt-1337-turbo-pro-max` does not serve completions" in raised.value.message


def test_an_unknown_path_is_not_found(client: OpenAI) -> None:
    for path in ("/nothing", "/chat", "/chat/completions/1", "/v1/chat/completions"):
        with pytest.raises(openai.NotFoundError) as raised:
            client.post(path, cast_to=object, body={})
        assert raised.value.code == "unknown_url"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/completions", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/models/m", "GET, HEAD"),
    ],
)
def test_another_method_is_not_allowed(recorded: BridgeProcess, method: str, path: str, allowed: str) -> None:
    response = recorded.send(method, path)
    assert (response.status, response.headers["allow"]) == (405, allowed)
    assert response.error()["code"] == "method_not_allowed"
    assert path in response.error()["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("autodev_chatglm_wrong_key", "body.messages.0.message: Field required"),
        ("llmapi_ask_missing_content", "body.content: Field required"),
        ("llmapi2023_ask_missing_content", "body.content: field required"),
        ("tds_content_null", "body.messages.0.content: Input should be a valid string"),
        ("tds_content_parts", "body.messages.0.content: Input should be a valid string"),
    ],
)
def test_a_refusal_of_the_upstream_is_an_unprocessable_entity(
    client: OpenAI, name: str, message: str, *, stream: bool
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        client.chat.completions.create(model=f"0/{name}", messages=HI, stream=stream)
    assert message in raised.value.message
    assert raised.value.type == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
def test_429_is_a_rate_limit_error(client: OpenAI, upstream: RecordedUpstream, *, stream: bool) -> None:
    sent = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}
    upstream.set_response("/made/limited", http_response(sent, 429, retry_after="17"))
    with pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(model="made/limited", messages=HI, stream=stream)
    error = raised.value
    assert error.response.headers["retry-after"] == "17"
    assert (error.type, error.code) == ("requests", "rate_limit_exceeded")
    assert "Rate limit reached" in error.message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "status", "message"),
    [
        ("0/autodev_chatglm_empty", 500, "Internal Server Error"),
        ("0/autodev_proxy_empty", 502, "closed the connection before its response was complete"),
        ("0/llmapi_b_fail_ask", 504, "Reply timeout"),
    ],
)
def test_a_failure_of_the_upstream_is_an_internal_server_error(
    client: OpenAI, model: str, status: int, message: str, *, stream: bool
) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model=model, messages=HI, stream=stream)
    assert raised.value.status_code == status
    assert message in raised.value.message
    assert raised.value.type == "server_error"


@pytest.mark.parametrize(
    ("upstream_status", "status", "message"),
    [
        (418, 502, "no more"),
        (302, 502, "no more"),
        # A refusal of the operator's key may quote the key: the client gets the bridge's own words.
        (403, 502, "the upstream refused the bridge's credentials (403)"),
        (503, 503, "no more"),
        (529, 529, "no more"),
    ],
)
def test_an_error_status_is_kept_or_becomes_502(
    recorded: BridgeProcess, upstream: RecordedUpstream, upstream_status: int, status: int, message: str
) -> None:
    upstream.set_response(
        "/made/failing", http_response({"msg": "no more"}, upstream_status, location="/made/usage")
    )
    response = recorded.ask("made/failing")
    assert (response.status, response.error()["message"]) == (status, message)


@pytest.mark.parametrize("sent", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"])
def test_no_error_contains_the_upstream_key(upstream: RecordedUpstream, tmp_path: Path, sent: bytes) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        """
        routes:
          - models: m
            upstream: "${UPSTREAM}/made/no-http"
            auth: {query: key, value: "${KEY}"}
        """
    )
    upstream.set_response("/made/no-http?key=sk-secret", sent)
    with running(file, variables={"UPSTREAM": upstream.url, "KEY": "sk-secret"}) as bridge:
        response = bridge.ask("m")
    assert (response.status, response.error()["code"]) == (502, "upstream_garbled")
    assert b"sk-secret" not in response.body


@pytest.mark.parametrize(
    ("piece", "code"),
    [
        ({"error": {"message": "out of memory", "type": "server_error", "code": "oom"}}, "oom"),
        ({"error": "out of memory"}, "upstream_refused"),
    ],
)
async def test_an_error_within_a_stream_is_an_api_error(
    recorded: BridgeProcess, upstream: RecordedUpstream, piece: dict[str, Any], code: str
) -> None:
    upstream.set_response("/made/midway-error", *stream_pieces(CHUNK, piece, CHUNK, "[DONE]"))
    error = await stream_error(recorded, "made/midway-error")
    assert (error.message, error.type, error.code) == ("out of memory", "server_error", code)


@pytest.mark.parametrize("complete", [False, True])
async def test_a_truncated_stream_is_an_api_error(
    recorded: BridgeProcess, upstream: RecordedUpstream, *, complete: bool
) -> None:
    upstream.set_response("/made/midway-cut", *stream_pieces(CHUNK, CHUNK, complete=complete))
    error = await stream_error(recorded, "made/midway-cut", text="DeepDeep")
    assert (error.type, error.code) == ("server_error", "upstream_disconnect")
    assert error.message


async def stream_error(recorded: BridgeProcess, model: str, text: str = "Deep") -> openai.APIError:
    """Return the error that ends a stream, the same for every class that reads streams, after the text."""
    sent: list[str] = []
    with OpenAI(base_url=recorded.url, api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(model=model, messages=HI, stream=True)
        with pytest.raises(openai.APIError) as raw:
            sent.extend(chunk.choices[0].delta.content or "" for chunk in stream)
        with (
            client.chat.completions.stream(model=model, messages=HI) as helper,
            pytest.raises(openai.APIError) as from_helper,
        ):
            helper.get_final_completion()
    async with (
        AsyncOpenAI(base_url=recorded.url, api_key="none", max_retries=0) as asynchronous,
        asynchronous.chat.completions.stream(model=model, messages=HI) as async_helper,
    ):
        with pytest.raises(openai.APIError) as last:
            await async_helper.get_final_completion()
    assert "".join(sent) == text
    assert [type(raised.value) for raised in (raw, from_helper, last)] == [
        openai.APIError
    ] * 3  # the HTTP status is 200
    assert raw.value.body == from_helper.value.body == last.value.body
    return raw.value
