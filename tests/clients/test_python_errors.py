"""Each class of the official Python client's errors, with a message that a person can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.clients.bridge_process import running
from tests.clients.replay_server import events, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openai.types.chat import ChatCompletionMessageParam

    from tests.clients.bridge_process import Bridge
    from tests.clients.replay_server import Upstream

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
CHUNK = {"choices": [{"index": 0, "delta": {"content": "Deep"}}]}


@pytest.fixture(scope="module")
def client(recorded: Bridge) -> Iterator[OpenAI]:
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
def test_a_request_that_is_wrong(client: OpenAI, parameters: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": "0/tds_nonstream", **parameters})
    error = caught.value
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
def test_a_body_that_is_wrong(recorded: Bridge, body: bytes, code: str) -> None:
    answer = recorded.send("POST", "/v1/chat/completions", body)
    assert (answer.status, answer.error["code"]) == (400, code)
    assert answer.error["message"]
    assert answer.headers["x-request-id"]


def test_a_compressed_body_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("routes: [{models: m, upstream: http://127.0.0.1:9}]")
    with running(file) as bridge:
        answer = bridge.send("POST", "/v1/chat/completions", b"{}", **{"Content-Encoding": "gzip"})
        assert (answer.status, answer.error["code"]) == (415, "unsupported_encoding")


def test_a_picture_for_a_server_that_takes_text(client: OpenAI) -> None:
    url = "data:image/png;base64,AA=="
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="0/llmapi_ask_ok",
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
        )
    assert (caught.value.param, caught.value.code) == ("messages[0].content", "unsupported_content")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/completions", "/v1/models", "/v1/models/m"])
def test_a_key_is_wanted(locked: Bridge, path: str) -> None:
    answer = locked.send("POST", path, b"{}")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("key", ["wrong", "sk-righ", "sk-right2", "sk-right,other"])
def test_a_wrong_key(locked: Bridge, key: str) -> None:
    with OpenAI(base_url=locked.url, api_key=key, max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.chat.completions.create(model="m", messages=HI)
        assert (caught.value.code, caught.value.type) == ("invalid_api_key", "invalid_request_error")
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


@pytest.mark.parametrize("key", ["sk-right", "other"])
def test_a_right_key(locked: Bridge, upstream: Upstream, key: str) -> None:
    with OpenAI(base_url=locked.url, api_key=key, max_retries=0) as client:
        assert client.chat.completions.create(model="m", messages=HI).choices[0].message.content
        assert [model.id for model in client.models.list()] == ["m"]
    assert "authorization" not in upstream.latest("/0/tds_nonstream").headers


def test_an_unknown_model(client: OpenAI) -> None:
    calls: list[Callable[[], object]] = [
        lambda: client.chat.completions.create(model="gone", messages=HI),
        lambda: client.chat.completions.create(model="gone", messages=HI, stream=True),
        lambda: client.completions.create(model="gone", prompt="hi"),
        lambda: client.models.retrieve("gone"),
    ]
    for call in calls:
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert "`gone`" in caught.value.message


def test_a_model_of_another_endpoint(demo: Bridge) -> None:
    with (
        OpenAI(base_url=demo.url, api_key="none", max_retries=0) as client,
        pytest.raises(openai.NotFoundError) as caught,
    ):
        client.completions.create(model="gpt-1337-turbo-pro-max", prompt="hi")
    assert caught.value.param == "model"
    assert "`gpt-1337-turbo-pro-max` does not serve completions" in caught.value.message


def test_an_unknown_path(client: OpenAI) -> None:
    for path in ("/nothing", "/chat", "/chat/completions/1", "/v1/chat/completions"):
        with pytest.raises(openai.NotFoundError) as caught:
            client.post(path, cast_to=object, body={})
        assert caught.value.code == "unknown_url"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/completions", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/models/m", "GET, HEAD"),
    ],
)
def test_another_method(recorded: Bridge, method: str, path: str, allowed: str) -> None:
    answer = recorded.send(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)
    assert answer.error["code"] == "method_not_allowed"
    assert path in answer.error["message"]


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
def test_a_request_that_the_server_refuses(client: OpenAI, name: str, message: str, *, stream: bool) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.chat.completions.create(model=f"0/{name}", messages=HI, stream=stream)
    assert message in caught.value.message
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
def test_too_many_requests(client: OpenAI, upstream: Upstream, *, stream: bool) -> None:
    said = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}
    upstream.answer("/made/limited", whole(429, said, retry_after="17"))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="made/limited", messages=HI, stream=stream)
    error = caught.value
    assert error.response.headers["retry-after"] == "17"
    assert (error.type, error.code) == ("requests", "rate_limit_exceeded")
    assert "Rate limit reached" in error.message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "status", "message"),
    [
        ("0/autodev_chatglm_empty", 500, "Internal Server Error"),
        ("0/autodev_proxy_empty", 502, "closed the connection before its answer was complete"),
        ("0/llmapi_b_fail_ask", 504, "Reply timeout"),
    ],
)
def test_a_server_that_fails(client: OpenAI, model: str, status: int, message: str, *, stream: bool) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=HI, stream=stream)
    assert caught.value.status_code == status
    assert message in caught.value.message
    assert caught.value.type == "server_error"


@pytest.mark.parametrize(("given", "status"), [(418, 502), (302, 502), (403, 502), (503, 503), (529, 529)])
def test_the_status_of_a_failure(recorded: Bridge, upstream: Upstream, given: int, status: int) -> None:
    upstream.answer("/made/failing", whole(given, {"msg": "no more"}, location="/made/usage"))
    answer = recorded.ask("made/failing")
    assert (answer.status, answer.error["message"]) == (status, "no more")


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"])
def test_no_failure_tells_the_key_of_the_server(upstream: Upstream, tmp_path: Path, said: bytes) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        """
        routes:
          - models: m
            upstream: "${UPSTREAM}/made/no-http"
            auth: {query: key, value: "${KEY}"}
        """
    )
    upstream.answer("/made/no-http?key=sk-secret", said)
    with running(file, variables={"UPSTREAM": upstream.url, "KEY": "sk-secret"}) as bridge:
        answer = bridge.ask("m")
    assert (answer.status, answer.error["code"]) == (502, "upstream_garbled")
    assert b"sk-secret" not in answer.body


@pytest.mark.parametrize(
    ("piece", "code"),
    [
        ({"error": {"message": "out of memory", "type": "server_error", "code": "oom"}}, "oom"),
        ({"error": "out of memory"}, "upstream_refused"),
    ],
)
async def test_an_error_in_the_midst_of_a_stream(
    recorded: Bridge, upstream: Upstream, piece: dict[str, Any], code: str
) -> None:
    upstream.answer("/made/midway-error", *events(CHUNK, piece, CHUNK, "[DONE]"))
    error = await broken(recorded, "made/midway-error")
    assert (error.message, error.type, error.code) == ("out of memory", "server_error", code)


@pytest.mark.parametrize("complete", [False, True])
async def test_a_stream_that_is_cut(recorded: Bridge, upstream: Upstream, *, complete: bool) -> None:
    upstream.answer("/made/midway-cut", *events(CHUNK, CHUNK, complete=complete))
    error = await broken(recorded, "made/midway-cut", text="DeepDeep")
    assert (error.type, error.code) == ("server_error", "upstream_disconnect")
    assert error.message


async def broken(recorded: Bridge, model: str, text: str = "Deep") -> openai.APIError:
    """The error that ends a stream, the same for every way to read it; what came before is given first."""
    said: list[str] = []
    with OpenAI(base_url=recorded.url, api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(model=model, messages=HI, stream=True)
        with pytest.raises(openai.APIError) as raw:
            said.extend(chunk.choices[0].delta.content or "" for chunk in stream)
        with (
            client.chat.completions.stream(model=model, messages=HI) as helper,
            pytest.raises(openai.APIError) as helped,
        ):
            helper.get_final_completion()
    async with (
        AsyncOpenAI(base_url=recorded.url, api_key="none", max_retries=0) as asynchronous,
        asynchronous.chat.completions.stream(model=model, messages=HI) as another,
    ):
        with pytest.raises(openai.APIError) as last:
            await another.get_final_completion()
    assert "".join(said) == text
    assert [type(caught.value) for caught in (raw, helped, last)] == [openai.APIError] * 3  # its HTTP was 200
    assert raw.value.body == helped.value.body == last.value.body
    return raw.value
