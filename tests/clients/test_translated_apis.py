"""The official clients of the Responses and Messages APIs, in front of a server that knows neither."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from tests.raw_upstream import Connection, chunk, head, http_response, run_upstream
from tests.running_bridge import run_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROUTES = """
server: {keys: [secret]}
routes:
  - models: m
    upstream: "${UPSTREAM}/generate"
    request:
      body: {turns: $.messages, functions: $.tools, format: $.response_format, stream: $.stream}
    response: &slots
      text: $.text
      reasoning: $.thought
      tool_calls: $.calls
      usage: {prompt_tokens: $.in, completion_tokens: $.out}
    stream: {<<: *slots, framing: ndjson}
    error: {when: {$.failure: {exists: true}}, message: $.failure, status: 429}
"""
CALL = {"id": "c1", "function": {"name": "add", "arguments": '{"a":1,"b":2}'}}


async def model(peer: Connection) -> None:
    """Behave as a model server with a format of its own, in which a tool is called before the answer."""
    while request := await peer.request():
        turns = request.body["turns"]
        if "fail" in str(turns):
            documents: list[dict[str, Any]] = [{"failure": "too busy"}]
        elif request.body.get("functions") and turns[-1]["role"] != "tool":
            documents = [{"calls": [{"index": 0, **CALL}], "in": 5, "out": 7}]
        elif request.body.get("format"):
            documents = [{"text": '{"total"'}, {"text": ": 3}"}, {"in": 5, "out": 7}]
        else:
            documents = [{"thought": "hm"}, {"text": "It is "}, {"text": "3."}, {"in": 5, "out": 7}]
        if request.body.get("stream"):
            lines = b"".join(chunk(json.dumps(document).encode() + b"\n") for document in documents)
            await peer.send(head(200, content_type="application/x-ndjson", transfer_encoding="chunked"))
            await peer.send(lines + chunk(b""))
        else:
            whole: dict[str, Any] = {}
            for document in documents:
                text = whole.get("text", "") + document.get("text", "")
                whole |= document | ({"text": text} if text else {})
            await peer.send(http_response(whole))


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with run_upstream(model) as server, run_bridge(ROUTES, {"UPSTREAM": server.url}) as bridge:
        yield bridge.url


@pytest.fixture
async def openai_client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="secret", max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic_client(url: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="secret", max_retries=0) as client:
        yield client


class Sum(BaseModel):
    total: int


ADD: Any = {
    "type": "function",
    "name": "add",
    "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    "strict": False,
}
TOOL: Any = {"name": "add", "input_schema": {"type": "object"}}
HI: Any = [{"role": "user", "content": "1 + 2?"}]


async def test_a_response_and_its_stream(openai_client: openai.AsyncOpenAI) -> None:
    response = await openai_client.responses.create(model="m", input="1 + 2?")
    assert (response.output_text, response.status) == ("It is 3.", "completed")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (5, 7)
    async with openai_client.responses.stream(model="m", input="1 + 2?") as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert (deltas, final.output_text) == (["It is ", "3."], "It is 3.")


async def test_a_parsed_response(openai_client: openai.AsyncOpenAI) -> None:
    response = await openai_client.responses.parse(model="m", input="1 + 2?", text_format=Sum)
    assert response.output_parsed == Sum(total=3)


async def test_a_round_trip_with_a_tool(openai_client: openai.AsyncOpenAI) -> None:
    items: list[Any] = [*HI]
    response = await openai_client.responses.create(model="m", input=items, tools=[ADD])
    (call,) = (item for item in response.output if item.type == "function_call")
    assert (call.name, call.arguments) == ("add", CALL["function"]["arguments"])  # type: ignore[index]
    items += [item.model_dump(exclude_none=True) for item in response.output]
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "3"})
    final = await openai_client.responses.create(model="m", input=items, tools=[ADD])
    assert final.output_text == "It is 3."


async def test_errors_of_responses(openai_client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError, match="too busy"):
        await openai_client.responses.create(model="m", input="fail")
    with pytest.raises(openai.NotFoundError):
        await openai_client.responses.create(model="other", input="hi")
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        await openai_client.responses.create(model="m", input="hi", previous_response_id="resp_1")
    with pytest.raises(openai.NotFoundError, match="not stored"):
        await openai_client.responses.retrieve("resp_1")


async def test_a_message_and_its_stream(anthropic_client: anthropic.AsyncAnthropic) -> None:
    message = await anthropic_client.messages.create(model="m", max_tokens=99, messages=HI)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert (message.content[1].text, message.stop_reason) == ("It is 3.", "end_turn")  # type: ignore[union-attr]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (5, 7)
    async with anthropic_client.messages.stream(model="m", max_tokens=99, messages=HI) as stream:
        texts = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert (texts, final.usage.output_tokens) == (["It is ", "3."], 7)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_round_trip_with_a_tool_of_messages(
    anthropic_client: anthropic.AsyncAnthropic, *, streamed: bool
) -> None:
    options: Any = {"model": "m", "max_tokens": 99, "tools": [TOOL]}
    if streamed:
        async with anthropic_client.messages.stream(messages=HI, **options) as stream:
            message: Any = await stream.get_final_message()
    else:
        message = await anthropic_client.messages.create(messages=HI, **options)
    (use,) = message.content
    assert (use.type, use.name, use.input, message.stop_reason) == (
        "tool_use",
        "add",
        {"a": 1, "b": 2},
        "tool_use",
    )
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "3"}
    answer = {"role": "assistant", "content": [use.model_dump(exclude_none=True)]}
    messages: Any = [*HI, answer, {"role": "user", "content": [result]}]
    final = await anthropic_client.messages.create(messages=messages, **options)
    assert final.content[-1].text == "It is 3."


async def test_counts_and_models_in_the_shapes_of_their_apis(
    anthropic_client: anthropic.AsyncAnthropic, openai_client: openai.AsyncOpenAI
) -> None:
    count = await anthropic_client.messages.count_tokens(model="m", messages=HI)
    assert count.input_tokens > 0
    counted = await openai_client.responses.input_tokens.count(model="m", input="1 + 2?")
    assert counted.input_tokens > 0
    assert [model.id async for model in anthropic_client.models.list()] == ["m"]
    assert (await anthropic_client.models.retrieve("m")).display_name == "m"


async def test_errors_of_messages(url: str, anthropic_client: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await anthropic_client.messages.create(model="other", max_tokens=9, messages=HI)
    assert unknown.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    with pytest.raises(anthropic.RateLimitError, match="too busy"):
        await anthropic_client.messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "fail"}]
        )
    async with anthropic.AsyncAnthropic(base_url=url, api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(anthropic.AuthenticationError):
            await stranger.messages.create(model="m", max_tokens=9, messages=HI)
        with pytest.raises(anthropic.AuthenticationError) as refused:
            await stranger.messages.count_tokens(model="m", messages=HI)
        assert refused.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
