"""What the bridge sends, read by the models of OpenAI's own Python package, strictly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bridge.exchange.dry_run import simulate
from tests.case_files import NAMES, Success, read_case
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


def hold(model: type[BaseModel], data: bytes) -> None:
    """What the package reads of it, written again, is all that was sent but for members of its own."""
    read = model.model_validate_json(data, strict=True)
    again = read.model_dump(mode="json", exclude_unset=True)
    assert again == json.loads(data)


def hold_stream(model: type[BaseModel], out: bytes) -> None:
    *events, last, end = out.split(b"\n\n")
    assert (last, end) == (b"data: [DONE]", b"")
    for one in events:
        hold(model, one.removeprefix(b"data: "))


@pytest.mark.parametrize("n", [1, 2])
def test_chat(n: int) -> None:
    body = request(n=n)
    hold(
        ChatCompletion,
        simulate(new_exchange(EVERYTHING, body), pieces_of({k: v for f in FRAMES for k, v in f.items()})),
    )
    streams = {**body, "stream": True, "stream_options": {"include_usage": True}}
    hold_stream(ChatCompletionChunk, simulate(new_exchange(EVERYTHING, streams), ndjson(*FRAMES)))


@pytest.mark.parametrize(
    "frames", [[{"t": "a"}, {"f": "tool_calls", "p": 1}], [{"t": "a", "r": "hm"}], [{"t": ""}]]
)
def test_legacy_completions(frames: list[dict[str, Any]]) -> None:
    whole = {key: value for frame in frames for key, value in frame.items()}
    asked = request("completions", n=2)
    hold(Completion, simulate(new_exchange(EVERYTHING, asked, endpoint="completions"), pieces_of(whole)))
    streams = {**asked, "stream": True, "stream_options": {"include_usage": True}}
    out = simulate(new_exchange(EVERYTHING, streams, endpoint="completions"), ndjson(*frames))
    hold_stream_of_completions(out)


def hold_stream_of_completions(out: bytes) -> None:
    """The package reads chunks of legacy completions as completions, without validating: null is in them."""
    *events, last, _ = out.split(b"\n\n")
    assert last == b"data: [DONE]"
    for one in events:
        body = json.loads(one.removeprefix(b"data: "))
        for choice in body["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        assert body.pop("usage") is None or not body["choices"]
        hold(Completion, json.dumps(body).encode())


def test_mended_answers() -> None:
    faulty = completion(
        created=1.5,
        usage={"prompt_tokens": 3.0},
        choices=[{"message": {"content": None, "tool_calls": [CALL]}, "finish_reason": "eos"}],
    )
    hold(ChatCompletion, forward(json.dumps(faulty)))
    bare: list[dict[str, Any]] = [
        {"choices": [{"delta": {"role": "assistant", "content": "a", "tool_calls": [CALL]}}]},
        chunk({"role": "assistant", "content": 5}, "eos"),
        {"choices": [], "usage": {"completion_tokens": 4.0}},
    ]
    data = "".join(map(event, bare)) + DONE
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    hold_stream(ChatCompletionChunk, forward(data, **options))
    hold_stream(
        ChatCompletionChunk, forward("".join(map(event, standard_chunks())) + DONE, rules=OPENAI, **options)
    )


GOOD = [name for name in NAMES if isinstance(read_case(*name).answers, Success)]


@pytest.mark.parametrize("of", [pytest.param(name, id="-".join(name)) for name in GOOD])
def test_recorded_conversations(of: tuple[str, str]) -> None:
    conversation = read_case(*of)
    exchange = conversation.exchange()
    out = simulate(
        exchange, [conversation.data], status=conversation.status, headers=conversation.lower_headers
    )
    if conversation.endpoint != "chat":
        model: type[BaseModel] = Completion
        for one in out.split(b"\n\n") if conversation.is_stream else [out]:
            body = json.loads(one.removeprefix(b"data: ").replace(b"[DONE]", b"") or b"{}")
            for choice in body.get("choices", []):
                choice["finish_reason"] = choice["finish_reason"] or "stop"
            if body:
                model.model_validate(body)
    elif conversation.is_stream:
        for one in out.split(b"\n\n")[:-2]:
            ChatCompletionChunk.model_validate_json(one.removeprefix(b"data: "), strict=True)
    else:
        ChatCompletion.model_validate_json(out, strict=True)
