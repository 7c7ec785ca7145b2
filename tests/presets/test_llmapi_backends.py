"""The services of llmapi-server's bots, reached directly through presets with the body of each bot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import ENDPOINTS
from tests.presets.preset_bridge import key_of, load_with_presets

Body = dict[str, Any]

HI = [{"role": "user", "content": "hi"}]
OPENAI = "upstream: https://api.openai.com, auth: {bearer: a-key}"
ENGINE = (
    'path: "/v1/engines/{{ model }}/completions", request: {drop: [messages, max_completion_tokens, model]}'
)

# A route, the client's body (a chat unless the name is another endpoint), the upstream URL and body.
BACKENDS: dict[str, tuple[str, Body, str, Body]] = {
    "chatgpt": (
        f"preset: localai, {OPENAI}",
        {"messages": HI},
        "https://api.openai.com/v1/chat/completions",
        {"model": "m", "messages": HI},
    ),
    "gpt3": (
        f"preset: openai-completions, model: text-davinci-003, {OPENAI}, {ENGINE}",
        {
            "messages": HI,
            "temperature": 0.7,
            "max_tokens": 512,
            "top_p": 1,
            "frequency_penalty": 0,
            "presence_penalty": 0,
        },
        "https://api.openai.com/v1/engines/text-davinci-003/completions",
        {
            "prompt": "hi",
            "temperature": 0.7,
            "max_tokens": 512,
            "top_p": 1,
            "frequency_penalty": 0,
            "presence_penalty": 0,
        },
    ),
    "embeddings": (
        f"preset: openai-embeddings, {OPENAI}",
        {"input": "hi", "encoding_format": "base64"},
        "https://api.openai.com/v1/embeddings",
        {"model": "m", "input": "hi", "encoding_format": "base64"},
    ),
    "images": (
        f"preset: openai-images, {OPENAI}, request: {{drop: [model]}}",
        {"prompt": "hi", "n": 1, "size": "1024x1024"},
        "https://api.openai.com/v1/images/generations",
        {"prompt": "hi", "n": 1, "size": "1024x1024"},
    ),
    "welm": (
        "preset: welm, model: xl, upstream: https://welm.weixin.qq.com, auth: {bearer: a-key}",
        {"messages": HI, "max_tokens": 64, "temperature": 0.8, "top_p": 0, "stop": "。"},
        "https://welm.weixin.qq.com/v1/completions",
        {
            "prompt": "hi",
            "model": "xl",
            "max_tokens": 64,
            "temperature": 0.8,
            "top_p": 0,
            "top_k": 10,
            "n": 1,
            "echo": False,
            "stop": "。",
        },
    ),
}


@pytest.mark.parametrize(
    ("preset", "endpoint", "sent", "path"),
    [
        ("localai", "embeddings", {"input": "hi"}, "/v1/embeddings"),
        ("localai", "images", {"prompt": "hi"}, "/v1/images/generations"),
        ("localai", "completions", {"prompt": "hi"}, "/v1/completions"),
        ("azure-openai", "chat", {"messages": HI}, "/openai/deployments/m/chat/completions"),
        ("azure-openai", "completions", {"prompt": "hi"}, "/openai/deployments/m/chat/completions"),
        ("azure-openai", "embeddings", {"input": "hi"}, "/openai/deployments/m/embeddings"),
        ("azure-openai", "images", {"prompt": "hi"}, "/openai/deployments/m/images/generations"),
    ],
)
def test_openai_endpoints_have_their_path(preset: str, endpoint: str, sent: Body, path: str) -> None:
    more = f", {key_of(preset)}" if key_of(preset) else ""
    text = f"routes: [{{models: m, preset: {preset}, upstream: http://u{more}}}]"
    (compiled,) = load_with_presets(text).routes
    sent = {"model": "m", **sent}
    (call,) = Exchange(
        RequestContext(compiled, ENDPOINTS[endpoint], sent, json.dumps(sent).encode(), id="x", now=0.0)
    ).calls
    version = "?api-version=2024-10-21" if preset == "azure-openai" else ""
    assert call.request().urls == (f"http://u{path}{version}",)


@pytest.mark.parametrize("bot", BACKENDS)
def test_the_service_of_a_bot_is_reached_directly(bot: str) -> None:
    route, sent, url, body = BACKENDS[bot]
    (compiled,) = load_with_presets(f"routes: [{{models: m, {route}}}]").routes
    endpoint = ENDPOINTS[bot if bot in ENDPOINTS else "chat"]
    assert endpoint.name in compiled.serves
    sent = {"model": "m", **sent}
    (call,) = Exchange(
        RequestContext(compiled, endpoint, sent, json.dumps(sent).encode(), id="x", now=0.0)
    ).calls
    request = call.request()
    assert request.urls == (url,)
    assert request.headers["Authorization"] == "Bearer a-key"
    assert json.loads(request.body or b"") == body
