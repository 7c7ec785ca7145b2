"""Replies made of deltas: the fast way to write a chunk is the plain one, a whole reply a stream folded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.merge_chunks import merge_chunks
from bridge.core import json as bridge_json
from bridge.core.deltas import FINISH_REASONS, Delta, Usage
from bridge.core.errors import BridgeError
from bridge.openai.encoders import ChunkEncoder, CompletionEncoder, CompletionInfo
from bridge.openai.endpoints import CHAT, COMPLETIONS
from bridge.openai.tool_calls import ToolCallAssembler
from tests.strict_client import read_completion, read_stream

if TYPE_CHECKING:
    from bridge.openai.endpoint_spec import EndpointSpec

WHOLE_CHARACTERS = st.characters(exclude_categories=["Cs"])
NAMES = st.text(WHOLE_CHARACTERS, min_size=1, max_size=8)
ANY_TEXT = st.text(st.characters(), max_size=12) | st.sampled_from(
    [
        "\u2028\u2029",
        "\x00\x1f\x7f\n\r\t",
        '"\\/',
        "\ud800",
        "\udc00\ud800",
        "\ue000",
        "😀",
        "data: [DONE]\n\n",
    ]
)
HEADS = st.builds(
    CompletionInfo,
    endpoint=st.sampled_from([CHAT, COMPLETIONS]),
    id=NAMES,
    created=st.integers(0, 2**40),
    model=NAMES,
    role=st.just("assistant"),
    include_usage=st.booleans(),
)


def plain_chunk(head: CompletionInfo, choice: int, text: str) -> dict[str, Any]:
    """A chunk with some text, as OpenAI's API reference has it."""
    said: dict[str, Any] = {"delta": {"content": text}} if head.endpoint is CHAT else {"text": text}
    order = ("index", "delta", "logprobs", "finish_reason")
    if head.endpoint is COMPLETIONS:
        order = ("text", "index", "logprobs", "finish_reason")
    members = {**said, "index": choice, "logprobs": None, "finish_reason": None}
    chunk: dict[str, Any] = {
        "id": head.id,
        "object": "chat.completion.chunk" if head.endpoint is CHAT else "text_completion",
        "created": head.created,
        "model": head.model,
        "choices": [{name: members[name] for name in order}],
    }
    return chunk | ({"usage": None} if head.include_usage else {})


@given(head=HEADS, texts=st.lists(ANY_TEXT.filter(bool), min_size=1, max_size=4), choice=st.integers(0, 3))
def test_the_fast_way_is_the_plain_way(head: CompletionInfo, texts: list[str], choice: int) -> None:
    reply = ChunkEncoder(head)
    reply.write([Delta("x", choice)])
    for text in texts:
        out = reply.write([Delta(text, choice)])
        wanted = plain_chunk(head, choice, text)
        assert out.startswith(b"data: ")
        assert out.endswith(b"}\n\n")
        assert out.count(b"\n") == 2
        assert json.loads(out.removeprefix(b"data: ")) == wanted
        if not any("\ud800" <= character <= "\udfff" for character in text):
            assert out == b"data: " + bridge_json.dumps(wanted) + b"\n\n"


@given(head=HEADS, texts=st.lists(ANY_TEXT.filter(bool), min_size=1, max_size=6))
def test_writing_at_once_is_writing_one_by_one(head: CompletionInfo, texts: list[str]) -> None:
    deltas = [Delta(text, number % 2) for number, text in enumerate(texts)]
    apart = ChunkEncoder(head)
    assert ChunkEncoder(head).write(deltas) == b"".join(apart.write([delta]) for delta in deltas)


@st.composite
def _deltas(draw: st.DrawFn) -> list[Delta]:
    calls = {choice: ToolCallAssembler(f"call_{choice}") for choice in range(3)}
    found = []
    for _ in range(draw(st.integers(0, 6))):
        choice = draw(st.integers(0, 2))
        pieces = draw(
            st.lists(
                st.fixed_dictionaries(
                    {"index": st.integers(0, 2), "function": st.fixed_dictionaries({"arguments": ANY_TEXT})},
                    optional={"id": NAMES},
                ),
                max_size=2,
            )
        )
        found.append(
            Delta(
                draw(ANY_TEXT),
                choice,
                draw(st.sampled_from([None, None, *sorted(FINISH_REASONS)])),
                draw(st.just("") | ANY_TEXT),
                [calls[choice].add_delta(piece) for piece in pieces] or None,
            )
        )
    return found


USAGES = st.none() | st.builds(
    Usage,
    prompt_tokens=st.integers(0, 99),
    completion_tokens=st.integers(0, 99),
    total_tokens=st.integers(0, 99),
    cached_tokens=st.none() | st.integers(0, 9),
    reasoning_tokens=st.none() | st.integers(0, 9),
)


@given(head=HEADS, deltas=_deltas(), usage=USAGES, choices=st.integers(3, 4))
def test_a_whole_reply_is_a_stream_folded(
    head: CompletionInfo, deltas: list[Delta], usage: Usage | None, choices: int
) -> None:
    stream, whole = ChunkEncoder(head), CompletionEncoder(head)
    out = stream.write(deltas) + stream.close(usage, choices)
    assert whole.write(deltas) == b""
    body = json.loads(whole.close(usage, choices))
    folded = json.loads(
        json.dumps(merge_chunks(out))
    )  # which joins halves of surrogate pairs, as it did in the body
    for name in ("id", "created", "model"):
        assert folded[name] == body[name]
    assert folded.get("usage") == (body.get("usage") if head.include_usage else None)
    assert [reduced(choice) for choice in folded["choices"]] == [reduced(one) for one in body["choices"]]
    read_stream(out, include_usage=head.include_usage)
    read_completion(json.dumps(body).encode())


def reduced(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice without what says nothing: a stream cannot know at its begin that no text will come."""
    message = {name: value for name, value in choice.get("message", {}).items() if value}
    return {
        "index": choice["index"],
        "finish_reason": choice["finish_reason"],
        "text": choice.get("text"),
        "message": message,
    }


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
def test_the_end_of_a_stream_that_failed(endpoint: EndpointSpec) -> None:
    reply = ChunkEncoder(CompletionInfo(endpoint, "a", 1, "m"))
    before = reply.started
    out = reply.write([Delta("x")])
    assert (before, reply.started) == (False, True)
    error = BridgeError(503, "busy", code="x")
    stream = read_stream(out + reply.fail(error))
    assert stream.error == {"message": "busy", "type": "server_error", "param": None, "code": "x"}
    assert stream.choice.text == "x"


def test_nothing_is_written_of_nothing() -> None:
    assert ChunkEncoder(CompletionInfo(CHAT, "a", 1, "m")).write([]) == b""


def test_the_role_comes_once_in_the_first_chunk_of_each_choice() -> None:
    reply = ChunkEncoder(CompletionInfo(CHAT, "a", 1, "m", role="tool"))
    out = reply.write([Delta("x", 1), Delta("y", 0), Delta("z", 1)]) + reply.close(None, 3)
    stream = read_stream(out)
    assert [said.role for said in stream.choices.values()] == ["tool"] * 3
    assert stream.choices[2].text == ""
    assert out.count(b'"role"') == 3


def test_log_probabilities_go_with_their_text() -> None:
    one, two = ({"content": [{"token": token}], "refusal": None} for token in "ab")
    deltas = [Delta("a", logprobs=one), Delta("b", logprobs=two)]
    out = ChunkEncoder(CompletionInfo(CHAT, "a", 1, "m")).write(deltas)
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in out.split(b"\n\n")[1:-1]]
    assert [chunk["choices"][0]["logprobs"] for chunk in chunks] == [one, two]
    whole = CompletionEncoder(CompletionInfo(CHAT, "a", 1, "m"))
    whole.write(deltas)
    body = json.loads(whole.close(None, 1))
    assert body["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}], "refusal": None}


def test_content_is_null_beside_calls_of_tools() -> None:
    call = ToolCallAssembler("c").add_delta({"name": "f", "arguments": {}})
    whole = CompletionEncoder(CompletionInfo(CHAT, "a", 1, "m"))
    whole.write([Delta(tool_calls=[call], finish_reason="stop")])
    [choice] = json.loads(whole.close(None, 1))["choices"]
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"
