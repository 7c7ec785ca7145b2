"""Answers in OpenAI's own shape: those with nothing to mend go on as they came, and nothing else does."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.exchange.fast_path.both_paths import outcome, uses_fast_path
from tests.exchange.single_exchange import request

SOUND: dict[str, Any] = {
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
PLACES: list[tuple[str | int, ...]] = [
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


def spoilt(changes: list[tuple[tuple[str | int, ...], Any]]) -> bytes:
    """The sound answer with something else at some places, or without them."""
    body = deepcopy(SOUND)
    for (*way, last), odd in changes:
        value = deepcopy(odd)
        at: Any = body
        for step in way:
            found = (isinstance(at, dict) and step in at) or (isinstance(at, list) and step in range(len(at)))
            at = at[step] if found else None
        if isinstance(at, dict):
            at[last] = value
            if value == "REMOVED":
                del at[last]
        elif isinstance(at, list) and isinstance(last, int):
            at[last : last + 1] = [] if value == "REMOVED" else [value]
    return json.dumps(body).encode()


PASSED = "error: {when: {$.extra: x}, message: $.model}"


@given(
    st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(ODD)), max_size=2),
    st.sampled_from(["", PASSED]),
)
def test_openais_own_answers_come_to_the_same(changes: list[Any], rules: str) -> None:
    data, body = spoilt(changes), request()
    short = outcome(rules, body, data, endpoint="chat", short=True)
    assert short == outcome(rules, body, data, endpoint="chat", short=False)


def test_what_is_sound_goes_on_as_it_came() -> None:
    data = json.dumps(SOUND, indent=1).encode()
    out, _, usage, *_ = outcome("", request(), data, endpoint="chat", short=True)
    assert out == data
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (1, 2, 0)
    assert uses_fast_path("", SOUND)
    assert uses_fast_path("", {**SOUND, "usage": {**SOUND["usage"], "queue_time": 0.25}})
    assert not uses_fast_path("", {**SOUND, "created": 5.0})
