"""Tool calls of the official Python client through a bridge process, for each tool format."""

from __future__ import annotations

import json
from textwrap import dedent, indent
from typing import TYPE_CHECKING, Any

import pytest
from openai import BadRequestError, OpenAI, pydantic_function_tool
from pydantic import BaseModel

from tests.background_loop import in_background
from tests.bridge_process import running
from tests.clients.recorded_upstream import RecordedUpstream, run_recorded_upstream
from tests.tool_formats.sample_responses import SERVERS, ModelCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai.types.chat import ChatCompletionMessage


class Weather(BaseModel):
    """Weather of a city."""

    city: str
    days: int | None = None


class Now(BaseModel):
    """Current time."""


TOOLS = [pydantic_function_tool(Weather), pydantic_function_tool(Now)]
CALLS = [
    ModelCall("tool_1", "Now", {}),
    ModelCall("tool_2", "Weather", {"city": "Zürich", "days": 2}),
    ModelCall("tool_3", "Weather", {"city": 'the "Hague"', "days": None}),
]
HI = [{"role": "user", "content": "What is it like?"}]


@pytest.fixture(scope="module")
def server() -> Iterator[RecordedUpstream]:
    with in_background(run_recorded_upstream()) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def client(server: RecordedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    """Yield a client of a bridge with a route for each format."""
    text = "routes:\n" + "".join(
        f'  - models: {name}\n    upstream: "${{UPSTREAM}}/{name}"\n' + indent(dedent(sample.rules), "    ")
        for name, sample in SERVERS.items()
    )
    file = tmp_path_factory.mktemp("tools") / "routes.yaml"
    file.write_text(text)
    with (
        running(file, variables={"UPSTREAM": server.url}) as bridge,
        OpenAI(base_url=f"{bridge.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def _head(more: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: x/y\r\n{more}\r\n\r\n".encode()


def call_tools(
    server: RecordedUpstream, client: OpenAI, name: str, text: str, *, stream: bool
) -> ChatCompletionMessage:
    """Return the message of a completion, parsed by the client."""
    arguments: dict[str, Any] = {"model": name, "messages": HI, "tools": TOOLS}
    if not stream:
        body = SERVERS[name].whole(text, CALLS)
        server.set_response(f"/{name}", _head(f"content-length: {len(body)}"), body)
        return client.chat.completions.parse(**arguments).choices[0].message
    frames = SERVERS[name].streamed(text, CALLS, lambda arguments: [arguments[:7], arguments[7:]])
    server.set_response(f"/{name}", _head("connection: close"), *frames)
    with client.chat.completions.stream(**arguments) as helper:
        done = [event for event in helper if event.type == "tool_calls.function.arguments.done"]
        message = helper.get_final_completion().choices[0].message
    assert [event.parsed_arguments for event in done] == [
        Now(), Weather(city="Zürich", days=2), Weather(city='the "Hague"', days=None),
    ]  # fmt: skip
    return message


def _comparable(message: ChatCompletionMessage) -> dict[str, Any]:
    """Return a message without what may differ: generated ids, and spaces in the JSON of arguments."""
    members = message.model_dump()
    for call in members["tool_calls"]:
        call.pop("index", None)  # added by the client
        call["id"] = bool(call["id"])
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return members


@pytest.mark.parametrize("text", ["", "Let me see."])
@pytest.mark.parametrize("name", SERVERS)
def test_streaming_and_non_streaming_messages_are_equal(
    server: RecordedUpstream, client: OpenAI, name: str, text: str
) -> None:
    non_streaming = call_tools(server, client, name, text, stream=False)
    streaming = call_tools(server, client, name, text, stream=True)
    assert _comparable(streaming) == _comparable(non_streaming)
    assert (non_streaming.content or "") == text
    assert [call["function"]["name"] for call in _comparable(non_streaming)["tool_calls"]] == [
        call.name for call in CALLS
    ]
    if SERVERS[name].ids:
        assert [call.id for call in streaming.tool_calls or []] == [call.id for call in CALLS]


SECOND = {
    "ollama": [
        {"role": "user", "content": "What is it like?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": call.name, "arguments": call.arguments}} for call in CALLS],
        },
        {"role": "tool", "content": "noon", "tool_name": "Now"},
        {"role": "tool", "content": '{"sky":"blue"}', "tool_name": "Weather"},
        {"role": "tool", "content": "rain", "tool_name": "Weather"},
    ],
    "anthropic": [
        {"role": "user", "content": "What is it like?"},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
                for call in CALLS
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "tool_1", "content": "noon"},
                {"type": "tool_result", "tool_use_id": "tool_2", "content": '{"sky":"blue"}'},
                {"type": "tool_result", "tool_use_id": "tool_3", "content": "rain"},
            ],
        },
    ],
    "gemini": [
        {"role": "user", "parts": [{"text": "What is it like?"}]},
        {
            "role": "model",
            "parts": [{"functionCall": {"name": call.name, "args": call.arguments}} for call in CALLS],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "Now", "response": {"result": "noon"}}},
                {"functionResponse": {"name": "Weather", "response": {"sky": "blue"}}},
                {"functionResponse": {"name": "Weather", "response": {"result": "rain"}}},
            ],
        },
    ],
    "bedrock": [
        {"role": "user", "content": [{"text": "What is it like?"}]},
        {
            "role": "assistant",
            "content": [
                {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}}
                for call in CALLS
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "tool_1", "content": [{"text": "noon"}]}},
                {"toolResult": {"toolUseId": "tool_2", "content": [{"text": '{"sky":"blue"}'}]}},
                {"toolResult": {"toolUseId": "tool_3", "content": [{"text": "rain"}]}},
            ],
        },
    ],
}


@pytest.mark.parametrize("name", SERVERS)
def test_tool_results_are_sent_in_the_next_turn(server: RecordedUpstream, client: OpenAI, name: str) -> None:
    message = call_tools(server, client, name, "", stream=True)
    calls = message.tool_calls or []
    results = dict(zip((call.id for call in calls), ("noon", '{"sky":"blue"}', "rain"), strict=True))
    body = SERVERS[name].whole("Fine.", [])
    server.set_response(f"/{name}", _head(f"content-length: {len(body)}"), body)
    # Tools that run in parallel finish in another order than the calls.
    members = [{"role": "tool", "tool_call_id": known, "content": text} for known, text in results.items()]
    talk: list[Any] = [*HI, message, *reversed(members)]
    completion = client.chat.completions.create(model=name, messages=talk, tools=TOOLS)
    assert completion.choices[0].message.content == "Fine."
    sent = server.latest_request(f"/{name}").body
    messages = sent["contents" if name == "gemini" else "messages"]
    if name != "cohere":
        assert messages == SECOND[name]
        return
    assert [call["function"]["name"] for call in messages[1]["tool_calls"]] == ["Now", "Weather", "Weather"]
    assert [(sent["tool_call_id"], sent["content"][0]["document"]["data"]) for sent in messages[2:]] == [
        ("tool_1", {"result": "noon"}), ("tool_2", {"sky": "blue"}), ("tool_3", {"result": "rain"}),
    ]  # fmt: skip


def test_tools_are_sent_to_gemini_in_its_schema(server: RecordedUpstream, client: OpenAI) -> None:
    call_tools(server, client, "gemini", "", stream=False)
    [tools] = server.latest_request("/gemini").body["tools"]
    weather, now = tools["functionDeclarations"]
    assert now == {"name": "Now", "description": "Current time."}
    days = weather["parameters"]["properties"]["days"]
    assert (days["type"], days["nullable"]) == ("integer", True)
    assert "additionalProperties" not in str(tools)
    assert "strict" not in str(tools)


def test_a_refused_request_names_the_parameter(client: OpenAI) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "Now", "arguments": "{"}}
    talk: list[Any] = [*HI, {"role": "assistant", "tool_calls": [call]}]
    with pytest.raises(BadRequestError) as raised:
        client.chat.completions.create(model="anthropic", messages=talk)
    assert raised.value.param == "messages[1].tool_calls[0].function.arguments"
