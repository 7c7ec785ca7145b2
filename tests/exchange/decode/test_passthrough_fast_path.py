"""The fast path of OpenAI's completions: conforming bodies, and no others, are forwarded unchanged."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.exchange.decode.both_paths import outcome, uses_fast_path
from tests.exchange.single_exchange import request

CONFORMING: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "m-2",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hi", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": None},
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
}
POSITIONS: list[tuple[str | int, ...]] = [
    ("id",), ("object",), ("created",), ("model",), ("choices",), ("usage",), ("error",), ("extra",),
    ("choices", 0), ("choices", 1), ("choices", 0, "index"), ("choices", 0, "message"),
    ("choices", 0, "finish_reason"), ("choices", 0, "logprobs"), ("choices", 0, "usage"),
    ("choices", 0, "text"), ("choices", 0, "delta"), ("choices", 0, "message", "role"),
    ("choices", 0, "message", "content"), ("choices", 0, "message", "tool_calls"),
    ("choices", 0, "message", "reasoning_content"), ("choices", 0, "message", "reasoning"),
    ("choices", 0, "message", "refusal"), ("usage", "prompt_tokens"), ("usage", "completion_tokens"),
    ("usage", "total_tokens"), ("usage", "queue_time"), ("usage", "prompt_tokens_details"),
    ("usage", "prompt_tokens_details", "cached_tokens"), ("usage", "completion_tokens_details"),
    ("usage", "completion_tokens_details", "reasoning_tokens"),
]  # fmt: skip
ODD = [
    None, "", "x", "stop", "length", "tool_calls", "null", "user", 0, 1, 7, -1, 2**53, 0.0, 1.0, 0.5, True,
    False, [], {}, "7", ["x"], [{"text": "x"}], {"cached_tokens": 2.0}, {"prompt_tokens": 5},
    {"message": "no"}, {"index": 0}, [{"function": {"name": "f", "arguments": "{}"}}], {"content": "y"},
    "REMOVED",
]  # fmt: skip


def changed(changes: list[tuple[tuple[str | int, ...], Any]]) -> bytes:
    """Return the conforming body with other values at some positions, or without these members."""
    body = deepcopy(CONFORMING)
    for (*parents, last), replacement in changes:
        value = deepcopy(replacement)
        at: Any = body
        for step in parents:
            exists = (isinstance(at, dict) and step in at) or (
                isinstance(at, list) and step in range(len(at))
            )
            at = at[step] if exists else None
        if isinstance(at, dict):
            at[last] = value
            if value == "REMOVED":
                del at[last]
        elif isinstance(at, list) and isinstance(last, int):
            at[last : last + 1] = [] if value == "REMOVED" else [value]
    return json.dumps(body).encode()


WITH_ERROR_RULE = "error: {when: {$.extra: x}, message: $.model}"


@given(
    st.lists(st.tuples(st.sampled_from(POSITIONS), st.sampled_from(ODD)), max_size=2),
    st.sampled_from(["", WITH_ERROR_RULE]),
)
def test_the_fast_path_does_not_change_any_completion(changes: list[Any], rules: str) -> None:
    data, body = changed(changes), request()
    fast = outcome(rules, body, data, endpoint="chat", fast=True)
    assert fast == outcome(rules, body, data, endpoint="chat", fast=False)


def test_a_conforming_completion_is_forwarded_unchanged() -> None:
    data = json.dumps(CONFORMING, indent=1).encode()
    out, _, usage, *_ = outcome("", request(), data, endpoint="chat", fast=True)
    assert out == data
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (1, 2, 0)
    assert uses_fast_path("", CONFORMING)
    assert uses_fast_path("", {**CONFORMING, "usage": {**CONFORMING["usage"], "queue_time": 0.25}})
    assert not uses_fast_path("", {**CONFORMING, "created": 5.0})
