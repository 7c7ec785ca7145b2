"""The official Python client with the shipped routes and the demo servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

from tests.clients.expected import ROUTES, STREAMED, WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai.types import Completion
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

    from tests.bridge_process import BridgeProcess

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
TEXTUAL = [model for model in WHOLE if model != "gpt-1337-turbo-pro-max"]  # whose route serves chats only


@pytest.fixture(scope="module")
def client(demo: BridgeProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def asynchronous(demo: BridgeProcess) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0)


def assert_chunks(chunks: list[ChatCompletionChunk], model: str) -> str:
    """Assert the properties of chunks on which clients rely, and return the text."""
    assert len({(chunk.id, chunk.created, chunk.object) for chunk in chunks}) == 1
    assert {type(chunk.created) for chunk in chunks} == {int}
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert {choice.index for choice in choices} == {0}
    assert [choice.delta.role for choice in choices if choice.delta.role] == ["assistant"]
    assert choices[0].delta.role == "assistant"
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert choices[-1].finish_reason == "stop"
    assert {chunk.model for chunk in chunks} == {"blah" if model.startswith("gpt-1337") else model}
    assert not any(chunk.usage for chunk in chunks)
    return "".join(choice.delta.content or "" for choice in choices)


@pytest.mark.parametrize("model", WHOLE)
def test_a_chat(client: OpenAI, model: str) -> None:
    completion = client.chat.completions.create(model=model, messages=HI)
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content) == ("assistant", WHOLE[model])
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert (completion.object, completion.model) == ("chat.completion", model)
    assert type(completion.created) is int
    assert completion.id
    # The demo's servers send no counts. Clients that read `usage` without a check need the member.
    assert completion.usage is not None
    assert completion.usage.total_tokens == 0


@pytest.mark.parametrize("model", WHOLE)
async def test_a_chat_of_the_async_client(demo: BridgeProcess, model: str) -> None:
    async with asynchronous(demo) as client:
        completion = await client.chat.completions.create(model=model, messages=HI)
    assert completion.choices[0].message.content == WHOLE[model]


@pytest.mark.parametrize("model", STREAMED)
def test_a_streamed_chat(client: OpenAI, model: str) -> None:
    with client.chat.completions.create(model=model, messages=HI, stream=True) as stream:
        assert assert_chunks(list(stream), model) == STREAMED[model]


@pytest.mark.parametrize("model", STREAMED)
async def test_a_streamed_chat_of_the_async_client(demo: BridgeProcess, model: str) -> None:
    async with asynchronous(demo) as client:
        stream = await client.chat.completions.create(model=model, messages=HI, stream=True)
        assert assert_chunks([chunk async for chunk in stream], model) == STREAMED[model]


@pytest.mark.parametrize("model", STREAMED)
def test_a_chat_read_by_the_stream_class(client: OpenAI, model: str) -> None:
    with client.chat.completions.stream(model=model, messages=HI) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        completion = stream.get_final_completion()
    (choice,) = completion.choices
    assert text == choice.message.content == STREAMED[model]
    assert (choice.message.role, choice.finish_reason) == ("assistant", "stop")


@pytest.mark.parametrize("model", STREAMED)
async def test_a_chat_read_by_the_async_stream_class(demo: BridgeProcess, model: str) -> None:
    async with (
        asynchronous(demo) as client,
        client.chat.completions.stream(model=model, messages=HI) as stream,
    ):
        text = "".join([event.delta async for event in stream if event.type == "content.delta"])
        completion = await stream.get_final_completion()
    assert text == completion.choices[0].message.content == STREAMED[model]


@pytest.mark.parametrize("model", TEXTUAL)
def test_a_legacy_completion(client: OpenAI, model: str) -> None:
    completion = client.completions.create(model=model, prompt="hi")
    (choice,) = completion.choices
    assert (choice.text, choice.index, choice.finish_reason) == (WHOLE[model], 0, "stop")
    assert (completion.object, completion.model) == ("text_completion", model)


@pytest.mark.parametrize("model", TEXTUAL)
def test_a_streamed_legacy_completion(client: OpenAI, model: str) -> None:
    with client.completions.create(model=model, prompt="hi", stream=True) as stream:
        assert texts(list(stream)) == {0: WHOLE[model]}


@pytest.mark.parametrize("model", ["chatglm2-6b", "llama-2-13b", "mock"])
def test_each_prompt_of_a_list_is_a_choice(client: OpenAI, model: str) -> None:
    prompts = ["hi", "ho", "ha"]
    expected = {number: WHOLE[model].removesuffix("hi") + prompt for number, prompt in enumerate(prompts)}
    completion = client.completions.create(model=model, prompt=prompts)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert {choice.index: choice.text for choice in completion.choices} == expected
    with client.completions.create(model=model, prompt=prompts, stream=True) as stream:
        assert texts(list(stream)) == expected


async def test_legacy_completions_of_the_async_client(demo: BridgeProcess) -> None:
    async with asynchronous(demo) as client:
        completion = await client.completions.create(model="mock", prompt="hi")
        assert completion.choices[0].text == WHOLE["mock"]
        stream = await client.completions.create(model="chatglm2-6b", prompt="hi", stream=True)
        assert texts([chunk async for chunk in stream]) == {0: WHOLE["chatglm2-6b"]}


def texts(chunks: list[Completion]) -> dict[int, str]:
    """Assert the properties of a legacy stream, and return the text of each choice."""
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert chunks[0].object == "text_completion"
    contents: dict[int, str] = {}
    finished: list[int] = []
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        assert choice.index not in finished
        contents[choice.index] = contents.get(choice.index, "") + choice.text
        if choice.finish_reason is not None:
            finished.append(choice.index)
    assert sorted(finished) == sorted(contents)
    return contents


def test_n_choices_are_returned(client: OpenAI) -> None:
    completion = client.chat.completions.create(model="mock", messages=HI, n=3)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert {choice.message.content for choice in completion.choices} == {WHOLE["mock"]}
    with client.chat.completions.stream(model="chatglm2-6b", messages=HI, n=3) as stream:
        choices = stream.get_final_completion().choices
    assert [choice.message.content for choice in choices] == [WHOLE["chatglm2-6b"]] * 3


@pytest.mark.parametrize(
    ("model", "expected"), [("llama-2-13b", "You sai"), ("mock", "Mock reply for your prompt")]
)
def test_stop_strings_are_emulated(client: OpenAI, model: str, expected: str) -> None:
    stop = ["d: ", ":h"]
    completion = client.chat.completions.create(model=model, messages=HI, stop=stop)
    assert completion.choices[0].message.content == expected
    with client.chat.completions.create(model=model, messages=HI, stop=stop, stream=True) as stream:
        assert assert_chunks(list(stream), model) == expected


def test_all_messages_reach_the_upstream(client: OpenAI) -> None:
    turns: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "I'm Nihillum."},
        {"role": "assistant", "content": "OK"},
        {"role": "user", "content": "What did I just say?"},
    ]
    contents = client.chat.completions.create(model="chatglm2-6b", messages=turns).choices[0].message.content
    assert contents == "[chatglm2-6b] 1 turns; you said: What did I just say?"
    contents = client.chat.completions.create(model="llama-2-13b", messages=turns).choices[0].message.content
    assert contents == "You said: I'm Nihillum. OK What did I just say?"


@pytest.mark.parametrize("model", [model for model in TEXTUAL if WHOLE[model].endswith("hi")])
def test_text_parts_are_joined_for_upstreams_of_text(client: OpenAI, model: str) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": [{"type": "text", "text": "你好"}, {"type": "text", "text": "hi"}]}
    ]
    completion = client.chat.completions.create(model=model, messages=messages)
    assert completion.choices[0].message.content == WHOLE[model].removesuffix("hi") + "你好\nhi"


def test_models_are_listed_and_retrieved(client: OpenAI) -> None:
    listed = list(client.models.list())
    assert [model.id for model in listed] == [model for model in WHOLE if model != "llama-anything"]
    assert {(model.object, model.owned_by, type(model.created)) for model in listed} == {
        ("model", "bridge", int)
    }
    assert client.models.retrieve("mock") == listed[2]
    assert client.models.retrieve("llama-anything").id == "llama-anything"


async def test_models_of_the_async_client(demo: BridgeProcess) -> None:
    async with asynchronous(demo) as client:
        assert "mock" in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve("chatgpt")).id == "chatgpt"


@pytest.mark.parametrize("prefix", ["", "/", "/v1", "/v1/"])
def test_the_base_url_may_have_a_version(demo: BridgeProcess, prefix: str) -> None:
    with OpenAI(base_url=demo.url + prefix, api_key="none", max_retries=0) as client:
        completion = client.chat.completions.create(model="mock", messages=HI)
        assert completion.choices[0].message.content == WHOLE["mock"]
        assert client.completions.create(model="mock", prompt="hi").choices[0].text == WHOLE["mock"]
        assert client.models.retrieve("mock").id == "mock"


@pytest.mark.parametrize("model", WHOLE)
def test_the_route_is_in_a_header(client: OpenAI, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=HI)
    assert raw.headers["x-bridge-route"] == ROUTES[model]
    assert raw.headers["content-type"] == "application/json"
    assert "x-bridge-dropped" not in raw.headers
    assert raw.parse().choices[0].message.content == WHOLE[model]


def test_dropped_parameters_are_in_a_header(client: OpenAI) -> None:
    create = client.chat.completions.with_streaming_response.create
    with create(model="llama-2-13b", messages=HI, seed=7, user="u", temperature=0, stream=True) as raw:
        assert raw.headers["x-bridge-dropped"] == "seed, user"
        assert raw.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert raw.headers["x-accel-buffering"] == "no"
        assert raw.read().endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "request_id", ["abc-1", "0af7651916cd43dd8448eb211c80319c", "a:b/c+d=e@f_g.h", "x" * 128]
)
def test_a_valid_request_id_is_kept(client: OpenAI, request_id: str) -> None:
    completion = client.chat.completions.create(
        model="mock", messages=HI, extra_headers={"X-Request-Id": request_id}
    )
    assert completion._request_id == request_id


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, "<script>", 'a"b'])
def test_an_invalid_request_id_is_replaced(client: OpenAI, request_id: str) -> None:
    first, second = (
        client.chat.completions.create(model="mock", messages=HI, extra_headers={"X-Request-Id": request_id})
        for _ in range(2)
    )
    assert first._request_id is not None
    assert first._request_id.startswith("req_")
    assert first._request_id != second._request_id


def test_the_client_of_azure_is_served(demo: BridgeProcess) -> None:
    with AzureOpenAI(
        azure_endpoint=demo.url, api_key="none", api_version="2024-10-21", max_retries=0
    ) as client:
        completion = client.chat.completions.create(
            model="mock", messages=[{"role": "user", "content": "Hello!"}]
        )
    assert completion.choices[0].message.content
