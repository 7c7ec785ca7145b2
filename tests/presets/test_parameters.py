"""Request parameters in the upstream bodies of presets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.exchange.dry_run import simulate
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import ENDPOINTS
from tests.presets.preset_bridge import key_of, load_with_presets

Body = dict[str, Any]

HI = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
JSON = {"response_format": {"type": "json_object"}}
SHAPED = {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}
TOOLS: Body = {
    "tools": [
        {"type": "function", "function": {"name": "paint", "description": "Paints.", "parameters": SCHEMA}}
    ]
}
SAMPLING = {
    "top_k": 3,
    "min_p": 0.1,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.25,
    "repetition_penalty": 1.2,
}

# A preset, members that the client adds, and upstream members by path; None for members that must be absent.
PARAMETERS: list[tuple[str, Body, Body]] = [
    ("anthropic", {}, {"max_tokens": 4096, "thinking": None, "metadata": None}),
    ("anthropic", {"temperature": 1.5, "user": "u"}, {"temperature": 1, "metadata": {"user_id": "u"}}),
    ("anthropic", {"stop": ["\n", "x"]}, {"stop_sequences": ["x"]}),
    (
        "anthropic",
        {"reasoning_effort": "low", "temperature": 0.5, "top_p": 0.5, "top_k": 3},
        {
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "temperature": None,
            "top_p": None,
            "top_k": None,
        },
    ),
    ("anthropic", {"reasoning_effort": "none", "top_k": 3}, {"thinking": None, "top_k": 3}),
    ("anthropic-complete", {"user": "u"}, {"metadata": {"user_id": "u"}, "max_tokens_to_sample": 1024}),
    ("azure-openai", {"max_completion_tokens": 5}, {"model": None, "max_completion_tokens": 5}),
    ("baidu-ernie", {"temperature": 0, "max_tokens": 1}, {"temperature": None, "max_output_tokens": 2}),
    ("baidu-ernie", {"frequency_penalty": -1, "user": "u"}, {"penalty_score": 1, "user_id": "u"}),
    ("baidu-ernie", JSON, {"response_format": "json_object"}),
    ("baidu-ernie", SHAPED, {"response_format": None}),
    (
        "chatglm2-openai-api",
        {"max_tokens": 5, "stop": "x"},
        {"max_length": 5, "max_tokens": None, "stop": None},
    ),
    ("chatglm-6b", {"max_tokens": 5, "temperature": 0}, {"max_length": 1029, "temperature": 0.01}),
    ("cohere", TOOLS | {"tool_choice": "required"}, {"tool_choice": "REQUIRED", "tools": TOOLS["tools"]}),
    ("cohere", TOOLS | {"tool_choice": "auto", "top_p": 1}, {"tool_choice": None, "p": 0.99}),
    ("cohere-generate", {}, {"max_tokens": 256, "k": 0, "num_generations": 1}),
    (
        "cohere-generate",
        {"frequency_penalty": -1, "presence_penalty": 0.5},
        {"frequency_penalty": 0, "presence_penalty": None},
    ),
    ("cohere-generate", {"presence_penalty": 1.5}, {"presence_penalty": 1}),
    ("coze", {"user": "u", "temperature": 1}, {"user_id": "u", "temperature": None}),
    (
        "dashscope",
        {"top_p": 1, "temperature": 2} | JSON,
        {"parameters.top_p": 0.9999, "parameters.temperature": 1.99},
    ),
    ("dashscope", JSON, {"parameters.response_format": {"type": "json_object"}}),
    ("dify", {"temperature": 1}, {"user": "user-1", "response_mode": "blocking", "temperature": None}),
    ("bedrock", {}, {"inferenceConfig": {}, "toolConfig": None, "system": None}),
    ("bedrock", TOOLS | {"tool_choice": "none"}, {"toolConfig": None}),
    (
        "bedrock",
        TOOLS | {"tool_choice": {"type": "function", "function": {"name": "paint"}}},
        {"toolConfig.toolChoice": {"tool": {"name": "paint"}}},
    ),
    ("bedrock-anthropic", {"top_k": 3}, {"top_k": 3, "model": None, "stream": None, "max_tokens": 4096}),
    (
        "iflytek-spark",
        {"temperature": 2, "top_k": 9},
        {"parameter.chat": {"domain": "m", "temperature": 1, "top_k": 6}},
    ),
    (
        "iflytek-spark",
        {"temperature": 0, "user": "u" * 33},
        {"parameter.chat.temperature": None, "header": {}},
    ),
    ("iflytek-spark", TOOLS, {"payload.functions.text": [TOOLS["tools"][0]["function"]]}),
    ("replicate", {"stop": ["a,b", "c", "d"]}, {"input.stop_sequences": "c,d"}),
    ("replicate", {"temperature": 0, "seed": 7}, {"input": {"prompt": "hi", "max_tokens": 512, "seed": 7}}),
    ("textgen-webui", {"temperature": 0}, {"do_sample": False, "temperature": None, "max_new_tokens": 512}),
    (
        "textgen-webui",
        SAMPLING | {"seed": 7},
        {"seed": 7, "min_p": 0.1, "repetition_penalty": 1.2, "do_sample": True},
    ),
    ("fastchat-worker", {}, {"echo": False, "top_k": -1, "max_new_tokens": 512}),
    (
        "fastchat-worker",
        SAMPLING,
        {"frequency_penalty": 0.5, "presence_penalty": 0.25, "repetition_penalty": 1.2},
    ),
    ("gemini", {"n": 2, "seed": 7}, {"generationConfig.candidateCount": 2, "generationConfig.seed": 7}),
    (
        "gemini",
        JSON,
        {"generationConfig.responseMimeType": "application/json", "generationConfig.responseSchema": None},
    ),
    ("gemini-array", SHAPED, {"generationConfig.responseSchema": SCHEMA}),
    ("huggingface", {}, {"parameters.max_new_tokens": 512, "parameters.return_full_text": False}),
    (
        "huggingface",
        {"temperature": 0, "top_p": 1},
        {"parameters.temperature": None, "parameters.top_p": None},
    ),
    ("koboldai", {"max_tokens": 2000, "n": 2, "seed": 7}, {"max_length": 512, "n": 2, "sampler_seed": 7}),
    ("koboldcpp", SAMPLING, {"presence_penalty": 0.25, "rep_pen": 1.2, "min_p": 0.1, "top_k": 3}),
    ("litellm-custom", {"top_k": 3}, {"params.top_k": 3, "params.max_tokens": 256}),
    ("llamacpp", SAMPLING, {"repeat_penalty": 1.2, "min_p": 0.1, "frequency_penalty": 0.5}),
    ("llamacpp", JSON, {"json_schema": {"type": "object"}}),
    ("llamacpp", SHAPED | {"logit_bias": {"5": -1}}, {"json_schema": SCHEMA, "logit_bias": {"5": -1}}),
    ("llamacpp", {"response_format": {"type": "text"}}, {"json_schema": None}),
    ("moonshot", {"temperature": 1.5, "n": 2}, {"temperature": 1, "n": 2}),
    (
        "ollama",
        SAMPLING,
        {"options.repeat_penalty": 1.2, "options.min_p": 0.1, "options.presence_penalty": 0.25},
    ),
    ("ollama", JSON | {"reasoning_effort": "none"}, {"format": "json", "think": False}),
    ("ollama", SHAPED | {"reasoning_effort": "high"}, {"format": SCHEMA, "think": "high"}),
    ("ollama", {"response_format": {"type": "text"}}, {"format": None, "think": None, "stream": False}),
    ("ollama-generate", JSON, {"format": "json", "prompt": "hi"}),
    ("openai-completions", {"logprobs": True, "top_logprobs": 2}, {"logprobs": None, "top_logprobs": None}),
    ("openai-completions", {"stop": "x"}, {"stop": ["x"], "max_tokens": 256, "messages": None}),
    ("sglang", SAMPLING | {"seed": 7}, {"sampling_params.min_p": 0.1, "sampling_params.sampling_seed": 7}),
    ("sglang", SHAPED, {"sampling_params.json_schema": json.dumps(SCHEMA, separators=(",", ":"))}),
    ("tgi", {"temperature": 0, "top_p": 1}, {"parameters.do_sample": False, "parameters.top_p": None}),
    ("tgi", {"seed": -1, "top_k": 0}, {"parameters.seed": None, "parameters.top_k": None}),
    ("tgi", SHAPED, {"parameters.grammar": {"type": "json", "value": SCHEMA}}),
    ("triton-trtllm", {}, {"max_tokens": 256, "bad_words": "", "stop_words": ""}),
    ("triton-trtllm", SAMPLING | {"seed": 7}, {"top_k": 3, "random_seed": 7, "repetition_penalty": 1.2}),
    ("triton-vllm", {"stop": ["a", "b"], "seed": 7}, {"parameters.stop": "a", "parameters.seed": 7}),
    (
        "vllm-demo",
        {"seed": 7, "tools": [], "user": "u"},
        {"seed": 7, "tools": None, "user": None, "max_tokens": 256},
    ),
    ("welm", {"stop": ["a", "bc", "。"], "n": 2}, {"stop": "a。", "n": 2, "max_tokens": 64}),
    ("welm", {}, {"stop": None, "echo": False}),
    ("zhipu", {"temperature": 0, "top_p": 1}, {"temperature": None, "do_sample": False, "top_p": 0.99}),
    ("zhipu", {"stop": ["a", "b"], "user": "short"}, {"stop": ["a"], "user": None, "user_id": None}),
    ("zhipu", {"user": "a longer one"}, {"user_id": "a longer one", "stop": None, "do_sample": True}),
    (
        "zhipu-v3",
        {"temperature": 0, "max_tokens": 5},
        {"temperature": None, "max_tokens": None, "incremental": True},
    ),
]


@pytest.mark.parametrize(
    ("preset", "members", "expected"), [pytest.param(*case, id=case[0]) for case in PARAMETERS]
)
def test_parameters_are_converted(preset: str, members: Body, expected: Body) -> None:
    body = upstream_body(preset, {"messages": HI, **members})
    assert {path: member(body, path) for path in expected} == expected


def test_images_for_ollama_are_beside_the_text() -> None:
    parts = [
        {"type": "text", "text": "What "},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0="}},
        {"type": "text", "text": "is it?"},
    ]
    expected = upstream_body("ollama", {"messages": [{"role": "user", "content": parts}]})
    assert expected["messages"] == [{"role": "user", "content": "What \nis it?", "images": ["iVBORw0="]}]


def test_thoughts_of_gemini_are_reasoning() -> None:
    parts = [{"text": "Hm.", "thought": True}, {"text": "Deep"}, {"text": " teal", "thought": False}]
    result = response_to("gemini", {"candidates": [{"content": {"parts": parts}}]})
    message = result["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Deep teal", "Hm.")


@pytest.mark.parametrize(
    ("output", "content"),
    [(["hello"], "hello"), ("hello", "hello"), (["hihello"], "hello"), ([], ""), ({}, None)],
)
def test_an_output_of_litellm_is_a_list_or_a_string(output: Any, content: str | None) -> None:
    result = response_to("litellm-custom", {"data": [{"output": output}], "message": "ok"})
    if content is None:
        assert result["error"]["code"] == "upstream_empty"
    else:
        assert result["choices"][0]["message"]["content"] == content


def test_a_legacy_completion_keeps_its_parameters() -> None:
    body = {"prompt": "Once", "logprobs": 2, "echo": True, "suffix": "end", "stop": "x"}
    expected = upstream_body("openai-completions", body, endpoint="completions")
    assert expected == {"model": "m", "max_tokens": 256, **body, "stop": ["x"]}


def test_the_path_of_engines_may_be_configured() -> None:
    drop = "request: {drop: [messages, max_completion_tokens, model]}"
    keys = f'path: "/v1/engines/{{{{ model }}}}/completions", {drop}'
    assert upstream_body("openai-completions", {"messages": HI}, keys=keys) == {
        "prompt": "hi",
        "max_tokens": 256,
    }


@pytest.mark.parametrize(
    ("auth", "keys"),
    [
        ("{value: k}", {"api-key": "k"}),
        ("{header: x-key, value: k}", {"x-key": "k"}),
        ("{bearer: k}", {"Authorization": "Bearer k"}),
        ("client", {}),
    ],
)
def test_auth_of_the_route_replaces_auth_of_the_preset(auth: str, keys: dict[str, str]) -> None:
    an_exchange = exchange("azure-openai", {"messages": HI}, key=f"auth: {auth}, ")
    headers = an_exchange.calls[0].request().headers
    credentials = {
        name: value for name, value in headers.items() if name in ("api-key", "x-key", "Authorization")
    }
    assert credentials == keys


@pytest.mark.parametrize(
    ("domain", "path"),
    [
        ("lite", "/v1.1/chat"),
        ("generalv2", "/v2.1/chat"),
        ("generalv3", "/v3.1/chat"),
        ("generalv3.5", "/v3.5/chat"),
        ("4.0Ultra", "/v4.0/chat"),
        ("pro-128k", "/chat/pro-128k"),
        ("max-32k", "/chat/max-32k"),
    ],
)
def test_the_path_of_spark_follows_from_its_domain(domain: str, path: str) -> None:
    call = exchange("iflytek-spark", {"messages": HI}, keys=f"model: {domain}").calls[0]
    assert call.request().urls == (f"http://u{path}",)


def upstream_body(preset: str, body: Body, *, endpoint: str = "chat", keys: str = "") -> Any:
    """Return the upstream body."""
    request = exchange(preset, body, endpoint, keys).calls[0].request()
    assert request.body is not None
    return json.loads(request.body)


def response_to(preset: str, doc: Any) -> Any:
    """Return the completion for an upstream body, or the envelope of an error."""
    an_exchange = exchange(preset, {"messages": HI})
    out = simulate(an_exchange, [json.dumps(doc).encode()])
    return an_exchange.error.envelope if an_exchange.error else json.loads(out)


def exchange(preset: str, body: Body, endpoint: str = "chat", keys: str = "", key: str = "") -> Exchange:
    """Return an exchange of a route over the preset with other keys of the route."""
    key = key or (preset_key + ", " if (preset_key := key_of(preset)) else "")
    text = f"routes: [{{preset: {preset}, models: m, upstream: 'http://u', {key}{keys}}}]"
    (route,) = load_with_presets(text).routes
    body = {"model": "m", **body}
    return Exchange(
        RequestContext(route, ENDPOINTS[endpoint], body, json.dumps(body).encode(), id="x", now=0.0)
    )


def member(body: Any, path: str) -> Any:
    """Return the member at a path, None if missing."""
    for name in path.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return body
