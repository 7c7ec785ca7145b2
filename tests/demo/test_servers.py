"""Behaviour of the demo servers that no recording covers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession

from bridge.core.json import loads
from bridge.demo import LLMAPI, AutoDev, LiteLLM, OpenAIMock, running
from tests.demo.replay import exchange
from tests.recordings import parse_response

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.test_utils import TestClient
    from pytest_aiohttp import AiohttpClient

HOUR = 3600.0


async def post(client: TestClient[web.Request, Any], path: str, body: object) -> tuple[int, Any]:
    async with client.post(path, json=body) as response:
        return response.status, await response.json()


async def test_each_demo_variable_has_a_server() -> None:
    async with running() as variables:
        assert list(variables) == ["DEMO_AUTODEV", "DEMO_LITELLM", "DEMO_LLMAPI", "DEMO_ARTICLE"]
        assert len(set(variables.values())) == 4
        for url in variables.values():
            async with ClientSession() as client, client.post(url + "/v1/nowhere", json={}) as response:
                assert response.status in {200, 404}


async def test_two_runs_are_isolated() -> None:
    async with running() as first, running() as second:
        assert not set(first.values()) & set(second.values())
        async with ClientSession() as client:
            response = await client.post(first["DEMO_LLMAPI"] + "/v1/chat/start", json={"bot_type": "mock"})
            body = {"session": (await response.json())["session"], "content": "hello"}
            response = await client.post(second["DEMO_LLMAPI"] + "/v1/chat/ask", json=body)
            assert await response.json() == {"code": -4, "msg": "Session invalid"}


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_prompt_over_1_mib_is_accepted(aiohttp_client: AiohttpClient) -> None:
    # aiohttp's server refuses bodies over 1 MiB by default, unlike the servers that are imitated.
    long = "x" * (2 << 20)
    client = await aiohttp_client(OpenAIMock().application())
    _, mock = await post(client, "/chat/completions", {"messages": [{"role": "user", "content": long}]})
    client = await aiohttp_client(LiteLLM().application())
    _, litellm = await post(client, "/", {"params": {"prompt": [long]}})
    assert mock["choices"][0]["message"]["content"].endswith(long)
    assert litellm["data"][0]["output"] == [f"You said: {long}"]


@pytest.mark.parametrize(
    ("application", "path", "message"),
    [
        (AutoDev(pause=HOUR, ping=0.001).application, "/messages/stream", {"role": "user", "message": "hi"}),
        (AutoDev(pause=HOUR, ping=HOUR).application, "/messages/stream", {"role": "user", "message": "hi"}),
        (OpenAIMock(pause=HOUR).application, "/chat/completions", {"role": "user", "content": "hi"}),
    ],
    ids=["while commenting", "before the first word", "between two words"],
)
async def test_a_stream_ends_when_its_client_disconnects(
    aiohttp_client: AiohttpClient, application: Any, path: str, message: object
) -> None:
    client = await aiohttp_client(application())
    others = asyncio.all_tasks()
    async with client.post(path, json={"stream": True, "messages": [message]}) as response:
        assert response.status == 200
        streaming = asyncio.all_tasks() - others
        response.close()
    assert streaming
    _, unfinished = await asyncio.wait(streaming, timeout=10)
    assert not unfinished


async def test_each_word_is_sent_immediately(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(OpenAIMock(pause=HOUR).application())
    body = {"stream": True, "messages": []}
    async with client.post("/chat/completions", json=body) as response:
        assert b'{"content": "As "}' in await response.content.readuntil(b"\n\n")
        response.close()


# LiteLLM's format is not recorded; its documentation shows the bodies.


async def test_litellm_responds_to_each_prompt(aiohttp_client: AiohttpClient) -> None:
    params = {"max_tokens": 10, "temperature": 0.2, "top_p": None, "top_k": None}
    body = {"model": "meta-llama/Llama-2-13b-hf", "params": {"prompt": ["hello", "there"], **params}}
    client = await aiohttp_client(LiteLLM().application())
    status, response = await post(client, "/any/path", body)
    root_response = await post(client, "/", body)
    assert status == 200
    assert response == {
        "data": [
            {"prompt": "hello", "output": ["You said: hello"], "params": params},
            {"prompt": "there", "output": ["You said: there"], "params": params},
        ],
        "message": "ok",
    }
    assert root_response == (200, response)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"params": {"prompt": ["now please fail"]}}, "error: out of memory"),
        ({"params": {"prompt": "hello"}}, "error: expected params.prompt to be a list of strings"),
        ({"params": {"prompt": [None]}}, "error: expected params.prompt to be a list of strings"),
        ([], "error: expected params.prompt to be a list of strings"),
    ],
)
async def test_litellm_reports_failure_only_in_its_message(
    aiohttp_client: AiohttpClient, body: object, message: str
) -> None:
    client = await aiohttp_client(LiteLLM().application())
    assert await post(client, "/", body) == (200, {"data": [], "message": message})


async def test_llmapi_counts_open_sessions(aiohttp_client: AiohttpClient) -> None:
    server = LLMAPI()
    client = await aiohttp_client(server.application())
    sessions = [(await post(client, "/v1/chat/start", {"bot_type": "mock"}))[1]["session"] for _ in range(3)]
    assert server.open_sessions == len(set(sessions)) == 3
    await post(client, "/v1/chat/ask", {"session": sessions[0], "content": "please fail"})
    assert server.open_sessions == 3
    for session in [*sessions, sessions[0]]:
        await post(client, "/v1/chat/end", {"session": session})
    assert server.open_sessions == 0


async def test_llmapi_fails_on_request_for_every_bot(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(LLMAPI().application())
    for bot in ("mock", "chatgpt", "gpt3", "gpt-embedding", "dall-e", "welm"):
        _, started = await post(client, "/v1/chat/start", {"bot_type": bot})
        ask = {"session": started["session"], "content": "please fail", "timeout": 30}
        assert await post(client, "/v1/chat/ask", ask) == (200, {"code": -6, "msg": "Reply timeout"})


async def test_the_openai_mock_accepts_no_messages_and_no_model(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(OpenAIMock(pause=0).application())
    _, response = await post(client, "/chat/completions", {"messages": [], "stream": None})
    assert response["model"] == "mock-gpt-model"
    assert response["choices"][0]["message"]["content"].endswith("but there wasn't one!")


# Errors in the shape of FastAPI, as of any server written with FastAPI.


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([], ("dictionary_type", ["body"])),
        (1, ("dictionary_type", ["body"])),
        ({"bot_type": 1}, ("string_type", ["body", "bot_type"])),
    ],
)
async def test_a_body_of_the_wrong_shape_is_422(
    aiohttp_client: AiohttpClient, body: object, problem: tuple[str, object]
) -> None:
    client = await aiohttp_client(LLMAPI().application())
    status, response = await post(client, "/v1/chat/start", body)
    assert status == 422
    assert [(each["type"], each["loc"]) for each in response["detail"]] == [problem]


async def test_every_invalid_member_is_listed(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(OpenAIMock().application())
    _, response = await post(client, "/chat/completions", {"messages": [{"role": 1}, "hi"]})
    _, not_a_list = await post(client, "/chat/completions", {"messages": {}})
    assert [(problem["type"], problem["loc"][1:]) for problem in response["detail"]] == [
        ("string_type", ["messages", 0, "role"]),
        ("missing", ["messages", 0, "content"]),
        ("dictionary_type", ["messages", 1]),
    ]
    assert not_a_list["detail"][0]["type"] == "list_type"


@pytest.mark.parametrize("body", [b"", b'{"a" 1}'])
async def test_a_body_that_is_not_json_is_422(aiohttp_client: AiohttpClient, body: bytes) -> None:
    request = b"POST /v1/chat/end HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    client = await aiohttp_client(LLMAPI().application())
    response = parse_response(await exchange(str(client.make_url("/")), request % (len(body), body)))
    assert response.status == 422
    assert [problem["type"] for problem in loads(response.body)["detail"]] == ["json_invalid"]


async def test_another_method_is_not_allowed(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(OpenAIMock().application())
    async with client.get("/chat/completions") as response:
        assert response.status == 405
        assert await response.json() == {"detail": "Method Not Allowed"}
