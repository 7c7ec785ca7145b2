"""Chunks without choices that carry results of a filter or of a moderation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.exchange.dry_run import simulate
from tests.exchange.single_exchange import new_exchange, request, sse

BEGIN = {"id": "c1", "model": "up", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "x"}}]}
END = {"id": "c1", "model": "up", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
FILTER = {
    "id": "",
    "object": "",
    "created": 0,
    "model": "",
    "choices": [],
    "prompt_filter_results": [{"n": 0}],
}


def _chunks(*chunks: Any, **members: Any) -> list[Any]:
    exchange = new_exchange("", {**request(), "stream": True, **members})
    out = simulate(exchange, sse(*chunks, "data: [DONE]\n\n"))
    assert exchange.error is None
    return [json.loads(event[6:]) for event in out.decode().split("\n\n") if event.startswith("data: {")]


@pytest.mark.parametrize(
    ("chunks", "member"),
    [
        ([FILTER, BEGIN, END], "prompt_filter_results"),
        ([BEGIN, END, {"choices": [], "moderation": {"results": []}, "usage": None}], "moderation"),
        ([BEGIN, {"choices": [], "citations": ["https://a.example"]}, END], "citations"),
        ([BEGIN, {"choices": [], "x_groq": {"id": "r1"}, "usage": {"prompt_tokens": 1}}, END], "x_groq"),
    ],
)
def test_annotations_are_forwarded_once(chunks: list[Any], member: str) -> None:
    """The chunk gets the identity of the stream, also if the chunk comes first."""
    out = _chunks(*chunks)
    assert [chunk[member] for chunk in out if member in chunk] == [
        next(chunk[member] for chunk in chunks if member in chunk)
    ]
    assert {(chunk["id"], chunk["model"]) for chunk in out} == {("c1", "up")}
    assert not any(chunk.get("usage") for chunk in out)


def test_an_annotation_beside_the_token_counts_is_sent_with_them() -> None:
    """The upstream's own chunk with the counts has all its members."""
    last = {
        "choices": [],
        "moderation": {},
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
    out = _chunks(BEGIN, END, last, stream_options={"include_usage": True})
    assert ["moderation" in chunk for chunk in out] == [False, False, True]
    assert out[-1]["usage"]["total_tokens"] == 2


@pytest.mark.parametrize(
    "chunk", [{"choices": []}, {"choices": [], "system_fingerprint": "f", "x": None}, {"type": "ping"}]
)
def test_chunks_without_content_are_dropped(chunk: Any) -> None:
    """A chunk that says nothing reaches no client."""
    assert len(_chunks(BEGIN, chunk, END)) == 2
