"""The official Python client before recorded servers, sent whole and in pieces of a few bytes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.clients.expected import RECORDED_STREAMED, RECORDED_WHOLE
from tests.clients.replay_server import events, whole
from tests.recordings import read_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai.types.chat import ChatCompletionMessageParam

    from tests.clients.bridge_process import Bridge
    from tests.clients.replay_server import Upstream

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
PIECES = [0, 1, 7, 256]


@pytest.fixture(scope="module")
def client(recorded: Bridge) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{recorded.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def asynchronous(recorded: Bridge) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=recorded.url, api_key="none", max_retries=0)


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize("name", RECORDED_WHOLE)
def test_whole(client: OpenAI, name: str, size: int) -> None:
    completion = client.chat.completions.create(model=f"{size}/{name}", messages=HI)
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content) == ("assistant", RECORDED_WHOLE[name])
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert type(completion.created) is int


@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize("name", RECORDED_STREAMED)
def test_streamed(client: OpenAI, name: str, size: int) -> None:
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
async def test_the_stream_helper(recorded: Bridge, name: str, size: int) -> None:
    async with (
        asynchronous(recorded) as client,
        client.chat.completions.stream(model=f"{size}/{name}", messages=HI) as stream,
    ):
        completion = await stream.get_final_completion()
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content) == ("assistant", RECORDED_STREAMED[name])
    assert choice.finish_reason == "stop"


def test_the_server_gets_what_its_own_client_sends(client: OpenAI, upstream: Upstream) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "I'm Nihillum."},
        {"role": "assistant", "content": "OK"},
        {"role": "user", "content": "What did I just say?"},
    ]
    with client.chat.completions.stream(model="0/autodev_chatglm_stream", messages=messages) as stream:
        stream.until_done()
    asked = upstream.latest("/0/autodev_chatglm_stream")
    _, _, headers, body = read_request("autodev_chatglm_stream")
    own = {name: value for name, value in asked.doc.items() if name not in ("model", "stream")}
    assert own == asked._replace(body=body).doc
    assert asked.method == "POST"
    assert asked.headers["accept"] == headers["accept"]
    assert asked.headers["content-type"] == headers["content-type"]
    assert "authorization" not in asked.headers  # the client's key is none of the server's business


def test_a_session_around_the_answer(client: OpenAI, upstream: Upstream) -> None:
    client.chat.completions.create(model="0/llmapi_ask_ok", messages=HI)
    assert upstream.latest("/0/llmapi_start_ok").doc == {"bot_type": "mock"}
    assert upstream.latest("/0/llmapi_ask_ok").doc == {"session": "3ada2906", "content": "hi", "timeout": 60}
    assert upstream.latest("/0/llmapi_end_ok").doc == {"session": "3ada2906"}


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_cut_before_its_first_word_is_an_error(client: OpenAI, *, stream: bool) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="0/autodev_proxy_empty", messages=HI, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_disconnect")
    assert "closed the connection before its answer was complete" in caught.value.message


def test_usage_of_a_server_that_speaks_openai(client: OpenAI, upstream: Upstream) -> None:
    named = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    upstream.answer(
        "/made/usage",
        *events(
            {**named, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Deep"}}]},
            {**named, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {
                **named,
                "choices": [],
                "usage": {"prompt_tokens": 21, "completion_tokens": 5, "total_tokens": 26},
            },
            "[DONE]",
        ),
    )
    assert counts(client, "made/usage") == (21, 5, 26)
    assert upstream.latest("/made/usage").doc["stream_options"] == {"include_usage": True}


def test_usage_of_another_server(client: OpenAI, upstream: Upstream) -> None:
    upstream.answer(
        "/counted/a", *events({"said": "De"}, {"said": "ep", "tokens": {"in": 21, "out": 5}}, "[DONE]")
    )
    assert counts(client, "counted/a") == (21, 5, 26)
    upstream.answer("/counted/b", whole(200, {"said": "Deep", "tokens": {"in": 3, "out": 4}}))
    usage = client.chat.completions.create(model="counted/b", messages=HI).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 4, 7)


def counts(client: OpenAI, model: str) -> tuple[int, int, int]:
    """The token counts of a stream: in one chunk, the last, without choices; none where nobody asked."""
    with client.chat.completions.create(
        model=model, messages=HI, stream=True, stream_options={"include_usage": True}
    ) as stream:
        *chunks, last = stream
    assert not any(chunk.usage for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    return last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens


async def test_a_client_that_stops_reading_is_heard_upstream(recorded: Bridge, upstream: Upstream) -> None:
    upstream.answer("/made/stays", *events(_said("one"), complete=False), stays=True)
    async with asynchronous(recorded) as client:
        stream = await client.chat.completions.create(model="made/stays", messages=HI, stream=True)
        async for chunk in stream:
            assert chunk.choices[0].delta.role == "assistant"
            break
        await stream.response.aclose()
    await asyncio.to_thread(upstream.left, "/made/stays")


async def test_a_client_whose_task_is_cancelled_is_heard_upstream(
    recorded: Bridge, upstream: Upstream
) -> None:
    upstream.answer("/made/midway", *events(_said("one"), complete=False), stays=True)
    begun = asyncio.Event()

    async def listen() -> None:
        async with (
            asynchronous(recorded) as client,
            client.chat.completions.stream(model="made/midway", messages=HI) as stream,
        ):
            async for _ in stream:
                begun.set()

    task = asyncio.create_task(listen())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(upstream.left, "/made/midway")


async def test_a_client_that_leaves_before_the_first_byte_is_heard_upstream(
    recorded: Bridge, upstream: Upstream
) -> None:
    upstream.answer("/made/silent", stays=True)
    async with asynchronous(recorded) as client:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model="made/silent", messages=HI, timeout=0.5)
    await asyncio.to_thread(upstream.left, "/made/silent")


def _said(text: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}
