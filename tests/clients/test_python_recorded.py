"""The official Python client with recorded upstream responses, sent in pieces of several sizes."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.clients.expected import RECORDED_STREAMED, RECORDED_WHOLE
from tests.clients.recorded_upstream import stream_pieces
from tests.raw_upstream import http_response
from tests.recordings import read_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai.types.chat import ChatCompletionMessageParam

    from tests.bridge_process import BridgeProcess
    from tests.clients.recorded_upstream import RecordedUpstream

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
PIECES = [0, 1, 7, 256]


@pytest.fixture(scope="module")
def client(recorded: BridgeProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{recorded.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def asynchronous(recorded: BridgeProcess) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=recorded.url, api_key="none", max_retries=0)


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize("name", RECORDED_WHOLE)
def test_recorded_completions(client: OpenAI, name: str, size: int) -> None:
    completion = client.chat.completions.create(model=f"{size}/{name}", messages=HI)
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content) == ("assistant", RECORDED_WHOLE[name])
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert type(completion.created) is int


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize("name", RECORDED_STREAMED)
def test_recorded_streams(client: OpenAI, name: str, size: int) -> None:
    with client.chat.completions.create(model=f"{size}/{name}", messages=HI, stream=True) as stream:
        chunks = list(stream)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == RECORDED_STREAMED[name]
    assert [choice.delta.role for choice in choices if choice.delta.role] == ["assistant"]
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert all(type(chunk.id) is str and type(chunk.created) is int for chunk in chunks)


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize("name", RECORDED_STREAMED)
async def test_recorded_streams_read_by_the_stream_class(
    recorded: BridgeProcess, name: str, size: int
) -> None:
    async with (
        asynchronous(recorded) as client,
        client.chat.completions.stream(model=f"{size}/{name}", messages=HI) as stream,
    ):
        completion = await stream.get_final_completion()
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content) == ("assistant", RECORDED_STREAMED[name])
    assert choice.finish_reason == "stop"


def test_the_upstream_request_equals_that_of_the_upstreams_own_client(
    client: OpenAI, upstream: RecordedUpstream
) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "I'm Nihillum."},
        {"role": "assistant", "content": "OK"},
        {"role": "user", "content": "What did I just say?"},
    ]
    with client.chat.completions.stream(model="0/autodev_chatglm_stream", messages=messages) as stream:
        stream.until_done()
    request = upstream.latest_request("/0/autodev_chatglm_stream")
    _, _, headers, body = read_request("autodev_chatglm_stream")
    own = {name: value for name, value in request.body.items() if name not in ("model", "stream")}
    assert own == json.loads(body)
    assert request.method == "POST"
    # Strict servers refuse `text/event-stream`, and every server accepts this.
    assert request.headers["accept"] == "*/*"
    assert request.headers["content-type"] == headers["content-type"]
    assert "authorization" not in request.headers  # the client's key is not sent upstream


def test_a_session_is_opened_and_closed_around_the_request(
    client: OpenAI, upstream: RecordedUpstream
) -> None:
    client.chat.completions.create(model="0/llmapi_ask_ok", messages=HI)
    assert upstream.latest_request("/0/llmapi_start_ok").body == {"bot_type": "mock"}
    assert upstream.latest_request("/0/llmapi_ask_ok").body == {
        "session": "3ada2906",
        "content": "hi",
        "timeout": 60,
    }
    assert upstream.latest_request("/0/llmapi_end_ok").body == {"session": "3ada2906"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_truncated_before_its_text_is_an_error(client: OpenAI, *, stream: bool) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model="0/autodev_proxy_empty", messages=HI, stream=stream)
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_disconnect")
    assert "closed the connection before its response was complete" in raised.value.message


def test_usage_of_an_openai_upstream(client: OpenAI, upstream: RecordedUpstream) -> None:
    chunk_head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    upstream.set_response(
        "/made/usage",
        *stream_pieces(
            {**chunk_head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Deep"}}]},
            {**chunk_head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {
                **chunk_head,
                "choices": [],
                "usage": {"prompt_tokens": 21, "completion_tokens": 5, "total_tokens": 26},
            },
            "[DONE]",
        ),
    )
    assert counts(client, "made/usage") == (21, 5, 26)
    assert upstream.latest_request("/made/usage").body["stream_options"] == {"include_usage": True}


def test_usage_of_another_upstream(client: OpenAI, upstream: RecordedUpstream) -> None:
    upstream.set_response(
        "/counted/a", *stream_pieces({"said": "De"}, {"said": "ep", "tokens": {"in": 21, "out": 5}}, "[DONE]")
    )
    assert counts(client, "counted/a") == (21, 5, 26)
    upstream.set_response("/counted/b", http_response({"said": "Deep", "tokens": {"in": 3, "out": 4}}))
    usage = client.chat.completions.create(model="counted/b", messages=HI).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 4, 7)


def counts(client: OpenAI, model: str) -> tuple[int, int, int]:
    """Return the usage of a stream, after asserting that only the last chunk, without choices, has usage."""
    with client.chat.completions.create(
        model=model, messages=HI, stream=True, stream_options={"include_usage": True}
    ) as stream:
        *chunks, last = stream
    assert not any(chunk.usage for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    return last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens


async def test_a_closed_stream_reaches_the_upstream(
    recorded: BridgeProcess, upstream: RecordedUpstream
) -> None:
    upstream.set_response("/made/stays", *stream_pieces(_chunk("one"), complete=False), waits=True)
    async with asynchronous(recorded) as client:
        stream = await client.chat.completions.create(model="made/stays", messages=HI, stream=True)
        async for chunk in stream:
            assert chunk.choices[0].delta.role == "assistant"
            break
        await stream.response.aclose()
    await asyncio.to_thread(upstream.wait_for_disconnect, "/made/stays")


async def test_a_cancelled_task_reaches_the_upstream(
    recorded: BridgeProcess, upstream: RecordedUpstream
) -> None:
    upstream.set_response("/made/midway", *stream_pieces(_chunk("one"), complete=False), waits=True)
    started = asyncio.Event()

    async def read_stream() -> None:
        async with (
            asynchronous(recorded) as client,
            client.chat.completions.stream(model="made/midway", messages=HI) as stream,
        ):
            async for _ in stream:
                started.set()

    task = asyncio.create_task(read_stream())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(upstream.wait_for_disconnect, "/made/midway")


async def test_a_client_timeout_reaches_the_upstream(
    recorded: BridgeProcess, upstream: RecordedUpstream
) -> None:
    upstream.set_response("/made/silent", waits=True)
    async with asynchronous(recorded) as client:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model="made/silent", messages=HI, timeout=0.5)
    await asyncio.to_thread(upstream.wait_for_disconnect, "/made/silent")


def _chunk(text: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}
