"""Encoders of deltas: templated text chunks equal plain JSON, completions equal their merged streams."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.merge_chunks import merge_chunks
from bridge.core import json as bridge_json
from bridge.core.deltas import Delta, Usage
from bridge.core.finish_reasons import FINISH_REASONS
from bridge.openai.encoders import ChunkEncoder, CompletionEncoder
from bridge.openai.endpoints import CHAT, COMPLETIONS
from bridge.openai.response_encoder import ResponseInfo
from bridge.openai.tool_calls import ToolCallAssembler
from tests.strict_client import read_completion, read_stream

if TYPE_CHECKING:
    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.openai.response_encoder import ResponseEncoder

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
    ResponseInfo,
    endpoint=st.sampled_from([CHAT, COMPLETIONS]),
    id=NAMES,
    created=st.integers(0, 2**40),
    model=NAMES,
    role=st.just("assistant"),
    include_usage=st.booleans(),
)


def chunk_encoder(head: ResponseInfo) -> ResponseEncoder:
    """Return the encoder of the endpoint's streams."""
    assert head.endpoint.stream_encoder is not None
    return head.endpoint.stream_encoder(head)


def plain_chunk(head: ResponseInfo, choice: int, text: str) -> dict[str, Any]:
    """Return a chunk with some text, in the shape of OpenAI's API reference."""
    content: dict[str, Any] = {"delta": {"content": text}} if head.endpoint is CHAT else {"text": text}
    order = ("index", "delta", "logprobs", "finish_reason")
    if head.endpoint is COMPLETIONS:
        order = ("text", "index", "logprobs", "finish_reason")
    members = {**content, "index": choice, "logprobs": None, "finish_reason": None}
    chunk: dict[str, Any] = {
        "id": head.id,
        "object": "chat.completion.chunk" if head.endpoint is CHAT else "text_completion",
        "created": head.created,
        "model": head.model,
        "choices": [{name: members[name] for name in order}],
    }
    return chunk | ({"usage": None} if head.include_usage else {})


@given(head=HEADS, texts=st.lists(ANY_TEXT.filter(bool), min_size=1, max_size=4), choice=st.integers(0, 3))
def test_a_text_chunk_equals_its_plain_json(head: ResponseInfo, texts: list[str], choice: int) -> None:
    encoder = chunk_encoder(head)
    encoder.write([Delta("x", choice)])
    for text in texts:
        out = encoder.write([Delta(text, choice)])
        expected = plain_chunk(head, choice, text)
        assert out.startswith(b"data: ")
        assert out.endswith(b"}\n\n")
        assert out.count(b"\n") == 2
        assert json.loads(out.removeprefix(b"data: ")) == expected
        if not any("\ud800" <= character <= "\udfff" for character in text):
            assert out == b"data: " + bridge_json.dumps(expected) + b"\n\n"


@given(head=HEADS, texts=st.lists(ANY_TEXT.filter(bool), min_size=1, max_size=6))
def test_deltas_are_encoded_together_as_separately(head: ResponseInfo, texts: list[str]) -> None:
    deltas = [Delta(text, number % 2) for number, text in enumerate(texts)]
    separate = chunk_encoder(head)
    assert chunk_encoder(head).write(deltas) == b"".join(separate.write([delta]) for delta in deltas)


@st.composite
def _deltas(draw: st.DrawFn) -> list[Delta]:
    calls = {choice: ToolCallAssembler(f"call_{choice}") for choice in range(3)}
    deltas = []
    for _ in range(draw(st.integers(0, 6))):
        choice = draw(st.integers(0, 2))
        pieces = draw(
            st.lists(
                st.fixed_dictionaries(
                    {
                        "index": st.integers(0, 2),
                        "function": st.fixed_dictionaries({"name": NAMES, "arguments": ANY_TEXT}),
                    },
                    optional={"id": NAMES},
                ),
                max_size=2,
            )
        )
        deltas.append(
            Delta(
                draw(ANY_TEXT),
                choice,
                draw(st.sampled_from([None, None, *sorted(FINISH_REASONS)])),
                draw(st.just("") | ANY_TEXT),
                calls[choice].add(pieces) or None,
            )
        )
    return deltas


USAGES = st.none() | st.builds(
    Usage,
    prompt_tokens=st.integers(0, 99),
    completion_tokens=st.integers(0, 99),
    total_tokens=st.integers(0, 99),
    cached_tokens=st.none() | st.integers(0, 9),
    reasoning_tokens=st.none() | st.integers(0, 9),
)


@given(head=HEADS, deltas=_deltas(), usage=USAGES, choices=st.integers(3, 4))
def test_a_completion_equals_its_merged_stream(
    head: ResponseInfo, deltas: list[Delta], usage: Usage | None, choices: int
) -> None:
    stream, encoder = chunk_encoder(head), CompletionEncoder(head)
    out = stream.write(deltas) + stream.close(usage, choices)
    assert encoder.write(deltas) == b""
    body = json.loads(encoder.close(usage, choices))
    merged = json.loads(
        json.dumps(merge_chunks(out))
    )  # which joins halves of surrogate pairs, as it did in the body
    for name in ("id", "created", "model"):
        assert merged[name] == body[name]
    # A completion without counts has zeros, a stream has no chunk for them.
    assert merged.get("usage") == (body["usage"] if head.include_usage and usage else None)
    assert [reduced(choice) for choice in merged["choices"]] == [reduced(first) for first in body["choices"]]
    read_stream(out, include_usage=head.include_usage)
    read_completion(json.dumps(body).encode())


def reduced(choice: dict[str, Any]) -> dict[str, Any]:
    """Return a choice without empty members: a stream starts before it is known that no text follows."""
    message = {name: value for name, value in choice.get("message", {}).items() if value}
    return {
        "index": choice["index"],
        "finish_reason": choice["finish_reason"],
        "text": choice.get("text"),
        "message": message,
    }


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
def test_a_stream_starts_with_its_first_delta(endpoint: EndpointSpec) -> None:
    encoder = chunk_encoder(ResponseInfo(endpoint, "a", 1, "m"))
    before = encoder.started
    encoder.write([Delta("x")])
    assert (before, encoder.started) == (False, True)


def test_no_deltas_are_encoded_as_no_bytes() -> None:
    assert ChunkEncoder(ResponseInfo(CHAT, "a", 1, "m")).write([]) == b""


def test_the_first_chunk_of_each_choice_has_the_role() -> None:
    encoder = ChunkEncoder(ResponseInfo(CHAT, "a", 1, "m", role="tool"))
    out = encoder.write([Delta("x", 1), Delta("y", 0), Delta("z", 1)]) + encoder.close(None, 3)
    stream = read_stream(out)
    assert [content.role for content in stream.choices.values()] == ["tool"] * 3
    assert stream.choices[2].text == ""
    assert out.count(b'"role"') == 3


def test_log_probabilities_are_encoded_with_their_text() -> None:
    first, second = ({"content": [{"token": token}], "refusal": None} for token in "ab")
    deltas = [Delta("a", logprobs=first), Delta("b", logprobs=second)]
    out = ChunkEncoder(ResponseInfo(CHAT, "a", 1, "m")).write(deltas)
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in out.split(b"\n\n")[1:-1]]
    assert [chunk["choices"][0]["logprobs"] for chunk in chunks] == [first, second]
    encoder = CompletionEncoder(ResponseInfo(CHAT, "a", 1, "m"))
    encoder.write(deltas)
    body = json.loads(encoder.close(None, 1))
    assert body["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}], "refusal": None}


def test_content_is_null_in_a_message_with_tool_calls() -> None:
    calls = ToolCallAssembler("c").add([{"name": "f", "arguments": {}}])
    encoder = CompletionEncoder(ResponseInfo(CHAT, "a", 1, "m"))
    encoder.write([Delta(tool_calls=calls, finish_reason="stop")])
    [choice] = json.loads(encoder.close(None, 1))["choices"]
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"
