"""What the records do not show of the demo servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession
from yarl import URL

from bridge.core.json import dumps, loads
from bridge.demo import LLMAPI, AutoDev, LiteLLM, OpenAIMock, running, serving
from tests.demo.replay import exchange
from tests.recordings import parse_response

HOUR = 3600.0


async def post(url: str, body: object) -> tuple[int, Any]:
    async with ClientSession() as client, client.post(url, json=body) as answer:
        return answer.status, await answer.json()


async def exchange_json(url: str, body: object) -> Any:
    """As `post`, for bodies so large that aiohttp's client warns of them."""
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    data = dumps(body)
    path = URL(url).raw_path.encode()
    request = (head + b"Content-Length: %d\r\n\r\n%b") % (path, len(data), data)
    return loads(parse_response(await exchange(url, request)).body)


async def test_the_default_run_has_a_server_for_each_variable() -> None:
    async with running() as variables:
        assert list(variables) == ["DEMO_AUTODEV", "DEMO_LITELLM", "DEMO_LLMAPI", "DEMO_ARTICLE"]
        assert len(set(variables.values())) == 4
        for url in variables.values():
            status, _ = await post(url + "/v1/nowhere", {})
            assert status in {200, 404}


async def test_two_runs_do_not_meet() -> None:
    async with running() as one, running() as other:
        assert not set(one.values()) & set(other.values())
        _, started = await post(one["DEMO_LLMAPI"] + "/v1/chat/start", {"bot_type": "mock"})
        _, asked = await post(
            other["DEMO_LLMAPI"] + "/v1/chat/ask", {"session": started["session"], "content": "hello"}
        )
        assert asked == {"code": -4, "msg": "Session invalid"}


async def test_a_long_prompt_is_taken() -> None:
    # aiohttp refuses bodies over 1 MiB unless told; the servers shown here do not.
    long = "x" * (2 << 20)
    async with serving(OpenAIMock().application()) as url:
        article = await exchange_json(
            url + "/chat/completions", {"messages": [{"role": "user", "content": long}]}
        )
    async with serving(LiteLLM().application()) as url:
        litellm = await exchange_json(url, {"params": {"prompt": [long]}})
    assert article["choices"][0]["message"]["content"].endswith(long)
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
async def test_a_stream_ends_when_its_client_leaves(application: Any, path: str, message: object) -> None:
    async with serving(application()) as url, ClientSession() as client:
        others = asyncio.all_tasks()
        async with client.post(url + path, json={"stream": True, "messages": [message]}) as answer:
            assert answer.status == 200
            streaming = asyncio.all_tasks() - others
            answer.close()
        assert streaming
        _, unfinished = await asyncio.wait(streaming, timeout=10)
        assert not unfinished


async def test_a_word_is_sent_when_it_comes() -> None:
    async with serving(OpenAIMock(pause=HOUR).application()) as url, ClientSession() as client:
        body = {"stream": True, "messages": []}
        async with client.post(url + "/chat/completions", json=body) as answer:
            assert b'{"content": "As "}' in await answer.content.readuntil(b"\n\n")
            answer.close()


# LiteLLM's format has no record: its documentation shows the bodies.


async def test_litellm_answers_each_prompt() -> None:
    params = {"max_tokens": 10, "temperature": 0.2, "top_p": None, "top_k": None}
    body = {"model": "meta-llama/Llama-2-13b-hf", "params": {"prompt": ["hello", "there"], **params}}
    async with serving(LiteLLM().application()) as url:
        status, answer = await post(url + "/any/path", body)
        at_the_root = await post(url, body)
    assert status == 200
    assert answer == {
        "data": [
            {"prompt": "hello", "output": ["You said: hello"], "params": params},
            {"prompt": "there", "output": ["You said: there"], "params": params},
        ],
        "message": "ok",
    }
    assert at_the_root == (200, answer)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"params": {"prompt": ["now please fail"]}}, "error: out of memory"),
        ({"params": {"prompt": "hello"}}, "error: expected params.prompt to be a list of strings"),
        ({"params": {"prompt": [None]}}, "error: expected params.prompt to be a list of strings"),
        ([], "error: expected params.prompt to be a list of strings"),
    ],
)
async def test_litellm_tells_failure_in_its_message_alone(body: object, message: str) -> None:
    async with serving(LiteLLM().application()) as url:
        assert await post(url, body) == (200, {"data": [], "message": message})


async def test_llmapi_counts_the_sessions_that_are_open() -> None:
    server = LLMAPI()
    async with serving(server.application()) as url:
        sessions = [
            (await post(url + "/v1/chat/start", {"bot_type": "mock"}))[1]["session"] for _ in range(3)
        ]
        assert server.open_sessions == len(set(sessions)) == 3
        await post(url + "/v1/chat/ask", {"session": sessions[0], "content": "please fail"})
        assert server.open_sessions == 3
        for session in [*sessions, sessions[0]]:
            await post(url + "/v1/chat/end", {"session": session})
        assert server.open_sessions == 0


async def test_llmapi_fails_on_request_whatever_the_bot() -> None:
    async with serving(LLMAPI().application()) as url:
        for bot in ("mock", "chatgpt", "gpt3", "gpt-embedding", "dall-e", "welm"):
            _, started = await post(url + "/v1/chat/start", {"bot_type": bot})
            ask = {"session": started["session"], "content": "please fail", "timeout": 30}
            assert await post(url + "/v1/chat/ask", ask) == (200, {"code": -6, "msg": "Reply timeout"})


async def test_article_without_messages_or_model() -> None:
    async with serving(OpenAIMock(pause=0).application()) as url:
        _, answer = await post(url + "/chat/completions", {"messages": [], "stream": None})
    assert answer["model"] == "mock-gpt-model"
    assert answer["choices"][0]["message"]["content"].endswith("but there wasn't one!")


# Errors in FastAPI's form, of any server written with it.


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([], ("dictionary_type", ["body"])),
        (1, ("dictionary_type", ["body"])),
        ({"bot_type": 1}, ("string_type", ["body", "bot_type"])),
    ],
)
async def test_a_body_of_the_wrong_shape_is_422(body: object, problem: tuple[str, object]) -> None:
    async with serving(LLMAPI().application()) as url:
        status, answer = await post(url + "/v1/chat/start", body)
    assert status == 422
    assert [(each["type"], each["loc"]) for each in answer["detail"]] == [problem]


async def test_every_missing_member_is_named() -> None:
    async with serving(OpenAIMock().application()) as url:
        _, answer = await post(url + "/chat/completions", {"messages": [{"role": 1}, "hi"]})
        _, no_list = await post(url + "/chat/completions", {"messages": {}})
    assert [(problem["type"], problem["loc"][1:]) for problem in answer["detail"]] == [
        ("string_type", ["messages", 0, "role"]),
        ("missing", ["messages", 0, "content"]),
        ("dictionary_type", ["messages", 1]),
    ]
    assert no_list["detail"][0]["type"] == "list_type"


@pytest.mark.parametrize("body", [b"", b'{"a" 1}'])
async def test_a_body_that_is_not_json_is_422(body: bytes) -> None:
    request = b"POST /v1/chat/end HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    async with serving(LLMAPI().application()) as url:
        answer = parse_response(await exchange(url, request % (len(body), body)))
    assert answer.status == 422
    assert [problem["type"] for problem in loads(answer.body)["detail"]] == ["json_invalid"]


async def test_another_method_is_not_allowed() -> None:
    async with (
        serving(OpenAIMock().application()) as url,
        ClientSession() as client,
        client.get(url + "/chat/completions") as answer,
    ):
        assert answer.status == 405
        assert await answer.json() == {"detail": "Method Not Allowed"}
