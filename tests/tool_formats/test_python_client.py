"""The official Python client calls tools of servers that have them in their own shape, over real sockets."""

from __future__ import annotations

import json
from textwrap import dedent, indent
from typing import TYPE_CHECKING, Any

import pytest
from openai import BadRequestError, OpenAI, pydantic_function_tool
from pydantic import BaseModel

from tests.clients.bridge_process import running
from tests.clients.replay_server import Upstream, in_background
from tests.tool_formats.sample_responses import SERVERS, Called

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai.types.chat import ChatCompletionMessage


class Weather(BaseModel):
    """What the weather is like."""

    city: str
    days: int | None = None


class Now(BaseModel):
    """What time it is."""


TOOLS = [pydantic_function_tool(Weather), pydantic_function_tool(Now)]
CALLS = [
    Called("tool_1", "Now", {}),
    Called("tool_2", "Weather", {"city": "Zürich", "days": 2}),
    Called("tool_3", "Weather", {"city": 'the "Hague"', "days": None}),
]
HI = [{"role": "user", "content": "What is it like?"}]


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with in_background(Upstream().serving()) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def client(server: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    """A client of a bridge with a route for each format."""
    text = "routes:\n" + "".join(
        f'  - models: {name}\n    upstream: "${{UPSTREAM}}/{name}"\n' + indent(dedent(one.rules), "    ")
        for name, one in SERVERS.items()
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


def ask(server: Upstream, client: OpenAI, name: str, text: str, *, stream: bool) -> ChatCompletionMessage:
    """The message of an answer, with the helper that reads it."""
    asked: dict[str, Any] = {"model": name, "messages": HI, "tools": TOOLS}
    if not stream:
        body = SERVERS[name].whole(text, CALLS)
        server.answer(f"/{name}", _head(f"content-length: {len(body)}"), body)
        return client.chat.completions.parse(**asked).choices[0].message
    frames = SERVERS[name].streamed(text, CALLS, lambda arguments: [arguments[:7], arguments[7:]])
    server.answer(f"/{name}", _head("connection: close"), *frames)
    with client.chat.completions.stream(**asked) as helper:
        done = [event for event in helper if event.type == "tool_calls.function.arguments.done"]
        message = helper.get_final_completion().choices[0].message
    assert [event.parsed_arguments for event in done] == [
        Now(), Weather(city="Zürich", days=2), Weather(city='the "Hague"', days=None),
    ]  # fmt: skip
    return message


def _told(message: ChatCompletionMessage) -> dict[str, Any]:
    """A message but for what may differ: ids where the server gives none, blanks in the JSON of arguments."""
    told = message.model_dump()
    for call in told["tool_calls"]:
        call.pop("index", None)  # which the client's own helper leaves there
        call["id"] = bool(call["id"])
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return told


@pytest.mark.parametrize("text", ["", "Let me see."])
@pytest.mark.parametrize("name", SERVERS)
def test_streamed_and_whole_are_the_same_message(
    server: Upstream, client: OpenAI, name: str, text: str
) -> None:
    whole = ask(server, client, name, text, stream=False)
    streamed = ask(server, client, name, text, stream=True)
    assert _told(streamed) == _told(whole)
    assert (whole.content or "") == text
    assert [call["function"]["name"] for call in _told(whole)["tool_calls"]] == [call.name for call in CALLS]
    if SERVERS[name].ids:
        assert [call.id for call in streamed.tool_calls or []] == [call.id for call in CALLS]


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
def test_a_second_turn_brings_the_results(server: Upstream, client: OpenAI, name: str) -> None:
    message = ask(server, client, name, "", stream=True)
    calls = message.tool_calls or []
    results = dict(zip((call.id for call in calls), ("noon", '{"sky":"blue"}', "rain"), strict=True))
    body = SERVERS[name].whole("Fine.", [])
    server.answer(f"/{name}", _head(f"content-length: {len(body)}"), body)
    # The results in another order than the calls, as they come when tools run side by side.
    told = [{"role": "tool", "tool_call_id": known, "content": text} for known, text in results.items()]
    talk: list[Any] = [*HI, message, *reversed(told)]
    answer = client.chat.completions.create(model=name, messages=talk, tools=TOOLS)
    assert answer.choices[0].message.content == "Fine."
    sent = server.latest(f"/{name}").doc
    messages = sent["contents" if name == "gemini" else "messages"]
    if name != "cohere":
        assert messages == SECOND[name]
        return
    assert [call["function"]["name"] for call in messages[1]["tool_calls"]] == ["Now", "Weather", "Weather"]
    assert [(one["tool_call_id"], one["content"][0]["document"]["data"]) for one in messages[2:]] == [
        ("tool_1", {"result": "noon"}), ("tool_2", {"sky": "blue"}), ("tool_3", {"result": "rain"}),
    ]  # fmt: skip


def test_tools_reach_gemini_in_what_it_knows(server: Upstream, client: OpenAI) -> None:
    ask(server, client, "gemini", "", stream=False)
    [tools] = server.latest("/gemini").doc["tools"]
    weather, now = tools["functionDeclarations"]
    assert now == {"name": "Now", "description": "What time it is."}
    days = weather["parameters"]["properties"]["days"]
    assert (days["type"], days["nullable"]) == ("integer", True)
    assert "additionalProperties" not in str(tools)
    assert "strict" not in str(tools)


def test_a_refusal_names_the_member(client: OpenAI) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "Now", "arguments": "{"}}
    talk: list[Any] = [*HI, {"role": "assistant", "tool_calls": [call]}]
    with pytest.raises(BadRequestError) as raised:
        client.chat.completions.create(model="anthropic", messages=talk)
    assert raised.value.param == "messages[1].tool_calls[0].function.arguments"
