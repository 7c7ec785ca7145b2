"""The preset of llmapi-server before the server of the first run, asked by the official client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from bridge.demo import LLMAPI, serving
from tests.clients.replay_server import in_background
from tests.presets.preset_bridge import load_with_presets, run_front
from tests.raw_upstream import http_response, run_upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.raw_upstream import Connection

ROUTE = """
routes:
  - preset: llmapi
    models: [mock, chatgpt, gpt3, welm, gpt-embedding/ada, dall-e, nobody]
    upstream: {url}
"""


@pytest.fixture(scope="module")
def server() -> LLMAPI:
    return LLMAPI()


@pytest.fixture(scope="module")
def client(server: LLMAPI) -> Iterator[OpenAI]:
    @asynccontextmanager
    async def running() -> AsyncIterator[str]:
        async with (
            serving(server.application()) as url,
            run_front(load_with_presets(ROUTE.replace("{url}", url))) as front,
        ):
            yield front

    with (
        in_background(running()) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30) as client,
    ):
        yield client
    assert server.open_sessions == 0, "each is ended, at the latest when the bridge is"


def messages(*texts: str, system: str = "") -> Any:
    """A conversation that the user begins."""
    said = [{"role": "system", "content": system}] if system else []
    return said + [
        {"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("model", "asked", "answer"),
    [
        ("mock", messages("hello"), "Mock reply for your prompt:hello"),
        ("mock", messages("hi", system="Be brief."), "Mock reply for your prompt:Be brief.\n\nhi"),
        ("chatgpt", messages("hi", system="Be brief."), "2 messages; last=hi"),
        ("chatgpt", messages("a", "b", "c"), "2 messages; last=User: a\nAssistant: b\nUser: c\nAssistant:"),
        ("gpt3", messages("hi"), "\n\ncompletion of hi"),
        (
            "gpt-embedding/ada",
            messages("hi"),
            "[0.002306425478309393, -0.009327292442321777, -0.0028842221945524216]",
        ),
    ],
)
def test_each_bot_answers(client: OpenAI, model: str, asked: Any, answer: str) -> None:
    assert client.chat.completions.create(model=model, messages=asked).choices[0].message.content == answer
    with client.chat.completions.create(model=model, messages=asked, stream=True) as stream:
        chunks = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(chunks) == answer


def test_its_embeddings_are_vectors(client: OpenAI) -> None:
    vector = [0.002306425478309393, -0.009327292442321777, -0.0028842221945524216]
    answer = client.embeddings.create(
        model="gpt-embedding/ada", input=["one", "two"], encoding_format="float"
    )
    assert [(item.index, item.embedding) for item in answer.data] == [(0, vector), (1, vector)]
    with pytest.raises(openai.BadRequestError):  # the bot cannot be told of them
        client.embeddings.create(model="gpt-embedding/ada", input="one", dimensions=2)
    with pytest.raises(openai.InternalServerError):
        client.embeddings.create(model="mock", input="one")


def test_its_images_are_urls(client: OpenAI) -> None:
    answer = client.images.generate(model="dall-e", prompt="a cat", n=2)
    assert [(image.url or "")[:40] for image in answer.data or []] == [
        "https://oaidalleapiprodscus.blob.core.wi"
    ] * 2
    with pytest.raises(openai.InternalServerError):
        client.images.generate(model="mock", prompt="a cat")


def test_failures(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nobody", messages=messages("hi"))
    assert (unknown.value.code, unknown.value.body["message"]) == ("-5", "Bot type invalid")  # type: ignore[index]
    with pytest.raises(openai.InternalServerError) as late:
        client.chat.completions.create(model="mock", messages=messages("please fail"))
    assert (late.value.status_code, late.value.code) == (504, "-6")


@pytest.mark.parametrize(("code", "status"), [(-1, 500), (-4, 404), (-5, 404), (-6, 504), (-9, 502)])
@pytest.mark.parametrize("stream", [False, True])
async def test_codes_are_statuses(code: int, status: int, *, stream: bool) -> None:
    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            if request.path == "/v1/chat/ask":
                await peer.send(http_response({"code": code, "msg": "Said the server"}))
            else:
                await peer.send(http_response({"code": 0, "msg": "Success", "session": "3ada2906"}))

    async with run_upstream(behave) as server:
        async with (
            run_front(load_with_presets(ROUTE.replace("{url}", server.url))) as url,
            AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30) as client,
        ):
            with pytest.raises(openai.APIStatusError) as caught:
                await client.chat.completions.create(model="mock", messages=messages("hi"), stream=stream)
        assert (caught.value.status_code, caught.value.code) == (status, str(code))
        assert "Said the server" in caught.value.message
        assert [one.path for one in server.requests] == [
            f"/v1/chat/{name}" for name in ("start", "ask", "end")
        ]
        assert server.requests[1].body == {"session": "3ada2906", "content": "hi", "timeout": 120}
