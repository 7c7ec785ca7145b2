"""The preset llmapi before the demo server, through the official client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from bridge.demo import LLMAPI, serving
from tests.background_loop import in_background
from tests.presets.preset_bridge import load_with_presets
from tests.raw_upstream import http_response, run_upstream
from tests.running_bridge import serve_table

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
    async def llmapi_bridge() -> AsyncIterator[str]:
        async with (
            serving(server.application()) as url,
            serve_table(load_with_presets(ROUTE.replace("{url}", url)), limit=None) as bridge,
        ):
            yield bridge.url

    with (
        in_background(llmapi_bridge()) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30) as client,
    ):
        yield client
    assert server.open_sessions == 0, "every session is closed, at the latest at shutdown"


def messages(*texts: str, system: str = "") -> Any:
    """Return messages of a user and an assistant in turn."""
    first = [{"role": "system", "content": system}] if system else []
    return first + [
        {"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("model", "sent", "expected"),
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
def test_each_bot_responds(client: OpenAI, model: str, sent: Any, expected: str) -> None:
    assert client.chat.completions.create(model=model, messages=sent).choices[0].message.content == expected
    with client.chat.completions.create(model=model, messages=sent, stream=True) as stream:
        chunks = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(chunks) == expected


def test_embeddings_are_vectors(client: OpenAI) -> None:
    vector = [0.002306425478309393, -0.009327292442321777, -0.0028842221945524216]
    expected = client.embeddings.create(
        model="gpt-embedding/ada", input=["one", "two"], encoding_format="float"
    )
    assert [(item.index, item.embedding) for item in expected.data] == [(0, vector), (1, vector)]
    with pytest.raises(openai.BadRequestError):  # the bot has no such parameter
        client.embeddings.create(model="gpt-embedding/ada", input="one", dimensions=2)
    with pytest.raises(openai.InternalServerError):
        client.embeddings.create(model="mock", input="one")


def test_images_are_urls(client: OpenAI) -> None:
    expected = client.images.generate(model="dall-e", prompt="a cat", n=2)
    assert [(image.url or "")[:40] for image in expected.data or []] == [
        "https://oaidalleapiprodscus.blob.core.wi"
    ] * 2
    with pytest.raises(openai.InternalServerError):
        client.images.generate(model="mock", prompt="a cat")


def test_failures_have_their_status(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nobody", messages=messages("hi"))
    assert (unknown.value.code, unknown.value.body["message"]) == ("-5", "Bot type invalid")  # type: ignore[index]
    with pytest.raises(openai.InternalServerError) as timed_out:
        client.chat.completions.create(model="mock", messages=messages("please fail"))
    assert (timed_out.value.status_code, timed_out.value.code) == (504, "-6")


@pytest.mark.parametrize(("code", "status"), [(-1, 500), (-4, 404), (-5, 404), (-6, 504), (-9, 502)])
@pytest.mark.parametrize("stream", [False, True])
async def test_error_codes_are_mapped_to_statuses(code: int, status: int, *, stream: bool) -> None:
    async def behave(peer: Connection) -> None:
        while request := await peer.request():
            if request.path == "/v1/chat/ask":
                await peer.send(http_response({"code": code, "msg": "an upstream message"}))
            else:
                await peer.send(http_response({"code": 0, "msg": "Success", "session": "3ada2906"}))

    async with run_upstream(behave) as server:
        async with (
            serve_table(load_with_presets(ROUTE.replace("{url}", server.url))) as bridge,
            AsyncOpenAI(base_url=f"{bridge.url}/v1", api_key="none", max_retries=0, timeout=30) as client,
        ):
            with pytest.raises(openai.APIStatusError) as raised:
                await client.chat.completions.create(model="mock", messages=messages("hi"), stream=stream)
        assert (raised.value.status_code, raised.value.code) == (status, str(code))
        assert "an upstream message" in raised.value.message
        assert [request.path for request in server.requests] == [
            f"/v1/chat/{name}" for name in ("start", "ask", "end")
        ]
        assert server.requests[1].body == {"session": "3ada2906", "content": "hi", "timeout": 120}
