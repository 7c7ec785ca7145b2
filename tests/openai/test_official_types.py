"""Completions and chunks of the bridge, validated strictly by the models of OpenAI's Python package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bridge.exchange.dry_run import simulate
from tests.case_files import Success, case_names, read_case
from tests.exchange.single_exchange import ndjson, new_exchange, pieces_of, request
from tests.openai.sample_bodies import DONE, OPENAI, chunk, completion, event, forward, standard_chunks

if TYPE_CHECKING:
    from pydantic import BaseModel

EVERYTHING = """
    request: {body: {p: $.prompt}}
    response:
      text: $.t
      reasoning: $.r
      tool_calls: $.calls
      logprobs: $.lp
      finish_reason: $.f
      usage: {prompt_tokens: $.p, cached_tokens: $.k, reasoning_tokens: $.q}
    stream: {framing: ndjson}
"""
LOGPROBS = {"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}], "refusal": None}
CALL = {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}
FRAMES: list[dict[str, Any]] = [
    {"r": "hm"},
    {"t": "a", "lp": LOGPROBS},
    {"calls": [CALL]},
    {"f": "length", "p": 3.0, "k": 1, "q": 0},
]


def assert_valid(model: type[BaseModel], data: bytes) -> None:
    """Assert that the package reads the data, and writes the same JSON again."""
    parsed = model.model_validate_json(data, strict=True)
    written = parsed.model_dump(mode="json", exclude_unset=True)
    assert written == json.loads(data)


def assert_valid_stream(model: type[BaseModel], out: bytes) -> None:
    *events, last, end = out.split(b"\n\n")
    assert (last, end) == (b"data: [DONE]", b"")
    for event_data in events:
        assert_valid(model, event_data.removeprefix(b"data: "))


@pytest.mark.parametrize("n", [1, 2])
def test_chat_completions_are_valid(n: int) -> None:
    body = request(n=n)
    assert_valid(
        ChatCompletion,
        simulate(new_exchange(EVERYTHING, body), pieces_of({k: v for f in FRAMES for k, v in f.items()})),
    )
    stream_body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    assert_valid_stream(ChatCompletionChunk, simulate(new_exchange(EVERYTHING, stream_body), ndjson(*FRAMES)))


@pytest.mark.parametrize(
    "frames", [[{"t": "a"}, {"f": "tool_calls", "p": 1}], [{"t": "a", "r": "hm"}], [{"t": ""}]]
)
def test_legacy_completions_are_valid(frames: list[dict[str, Any]]) -> None:
    merged = {key: value for frame in frames for key, value in frame.items()}
    body = request("completions", n=2)
    assert_valid(
        Completion, simulate(new_exchange(EVERYTHING, body, endpoint="completions"), pieces_of(merged))
    )
    stream_body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    out = simulate(new_exchange(EVERYTHING, stream_body, endpoint="completions"), ndjson(*frames))
    assert_valid_text_stream(out)


def assert_valid_text_stream(out: bytes) -> None:
    """Assert that chunks of legacy completions are completions but for a `finish_reason` of null."""
    *events, last, _ = out.split(b"\n\n")
    assert last == b"data: [DONE]"
    for event_data in events:
        body = json.loads(event_data.removeprefix(b"data: "))
        for choice in body["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        assert body.pop("usage") is None or not body["choices"]
        assert_valid(Completion, json.dumps(body).encode())


def test_normalized_responses_are_valid() -> None:
    faulty = completion(
        created=1.5,
        usage={"prompt_tokens": 3.0},
        choices=[{"message": {"content": None, "tool_calls": [CALL]}, "finish_reason": "eos"}],
    )
    assert_valid(ChatCompletion, forward(json.dumps(faulty)))
    bare: list[dict[str, Any]] = [
        {"choices": [{"delta": {"role": "assistant", "content": "a", "tool_calls": [CALL]}}]},
        chunk({"role": "assistant", "content": 5}, "eos"),
        {"choices": [], "usage": {"completion_tokens": 4.0}},
    ]
    data = "".join(map(event, bare)) + DONE
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    assert_valid_stream(ChatCompletionChunk, forward(data, **options))
    assert_valid_stream(
        ChatCompletionChunk, forward("".join(map(event, standard_chunks())) + DONE, rules=OPENAI, **options)
    )


GOOD = [name for name in case_names("chat", "completions") if isinstance(read_case(*name).answers, Success)]


@pytest.mark.parametrize("of", [pytest.param(name, id="-".join(name)) for name in GOOD])
def test_completions_of_recorded_cases_are_valid(of: tuple[str, str]) -> None:
    case = read_case(*of)
    exchange = case.exchange()
    out = simulate(exchange, [case.data], status=case.status, headers=case.lower_headers)
    if case.endpoint != "chat":
        model: type[BaseModel] = Completion
        for event_data in out.split(b"\n\n") if case.is_stream else [out]:
            body = json.loads(event_data.removeprefix(b"data: ").replace(b"[DONE]", b"") or b"{}")
            for choice in body.get("choices", []):
                choice["finish_reason"] = choice["finish_reason"] or "stop"
            if body:
                model.model_validate(body)
    elif case.is_stream:
        for event_data in out.split(b"\n\n")[:-2]:
            ChatCompletionChunk.model_validate_json(event_data.removeprefix(b"data: "), strict=True)
    else:
        ChatCompletion.model_validate_json(out, strict=True)
