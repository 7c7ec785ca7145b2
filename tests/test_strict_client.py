"""The strict client itself: what it lets through would pass for right everywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.strict_client import read_completion, read_stream

Body = dict[str, Any]

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
COUNTS = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
DONE = b"data: [DONE]\n\n"


def chunk(delta: Body, finish: str | None = None, **other: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({**HEAD, "choices": [choice], **other})


def event(body: Body) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
TEXT = chunk({"content": "Teal"})
END = chunk({}, "stop")
USAGE = event({**HEAD, "choices": [], "usage": COUNTS})
ERROR = event({"error": {"message": "no", "type": "server_error", "param": None, "code": None}})

WRONG_STREAMS = {
    "nothing": b"",
    "no blank line at the end": ROLE + TEXT + END + DONE.strip(),
    "an event without data": ROLE + b": ping\n\n" + TEXT + END + DONE,
    "several lines": ROLE + TEXT.replace(b"data: ", b"id: 1\ndata: ", 1) + END + DONE,
    "no [DONE]": ROLE + TEXT + END,
    "two [DONE]": ROLE + TEXT + END + DONE + DONE,
    "half of its JSON": ROLE + b'data: {"id": \n\n' + END + DONE,
    "no choice": DONE,
    "no role": TEXT + END + DONE,
    "a role twice": ROLE + ROLE + TEXT + END + DONE,
    "no finish": ROLE + TEXT + DONE,
    "two finishes": ROLE + TEXT + END + END + DONE,
    "text behind the finish": ROLE + END + TEXT + DONE,
    "an unknown finish": ROLE + chunk({}, "eos") + DONE,
    "another id": ROLE + chunk({"content": "Teal"}, id="chatcmpl-2") + END + DONE,
    "another object": ROLE + chunk({"content": "Teal"}, object="chat.completion") + END + DONE,
    "a float for a date": chunk({"role": "assistant"}, created=1.0) + END + DONE,
    "usage first": USAGE + ROLE + END + DONE,
    "usage twice": ROLE + END + USAGE + USAGE + DONE,
    "usage ahead of the finish": ROLE + USAGE + END + DONE,
    "usage beside a choice": ROLE + chunk({}, "stop", usage=COUNTS) + DONE,
    "[DONE] behind an error": ROLE + ERROR + DONE,
    "text behind an error": ROLE + ERROR + TEXT,
    "an error of three keys": ROLE
    + event({"error": {"message": "no", "type": "server_error", "code": None}}),
    "an error with a number for its code": ERROR.replace(b'"code": null', b'"code": 5'),
}

COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Teal"}, "finish_reason": "stop"},
    ],
    "usage": COUNTS,
}

WRONG_COMPLETIONS: dict[str, Body] = {
    "an error": {"error": {"message": "no"}},
    "no model": {"model": ""},
    "a float for a date": {"created": 1.0},
    "a chunk": {"object": "chat.completion.chunk"},
    "no choice": {"choices": []},
    "the second choice alone": {"choices": [{**COMPLETION["choices"][0], "index": 1}]},  # type: ignore[index]
    "no content": {"choices": [{"index": 0, "message": {"role": "assistant"}, "finish_reason": "stop"}]},
    "no finish": {"choices": [{"index": 0, "message": {"role": "a", "content": ""}, "finish_reason": None}]},
    "float counts": {"usage": {**COUNTS, "total_tokens": 3.0}},
    "counts that are null": {"usage": None},
}


def test_a_good_stream_is_read() -> None:
    streamed = read_stream(ROLE + TEXT + chunk({"content": " blue"}) + END + USAGE + DONE)
    assert streamed.choice.chunks == ["Teal", " blue"]
    assert streamed.choice.text == "Teal blue"
    assert streamed.choice.role == "assistant"
    assert streamed.choice.finish_reason == "stop"
    assert streamed.usage == COUNTS
    assert streamed.error is None


def test_an_honest_end_is_read() -> None:
    streamed = read_stream(ROLE + TEXT + ERROR)
    assert streamed.choice.text == "Teal"
    assert streamed.error is not None
    assert streamed.error["message"] == "no"


def test_usage_must_be_asked_for() -> None:
    with pytest.raises(AssertionError):
        read_stream(ROLE + TEXT + END + USAGE + DONE, include_usage=False)


@pytest.mark.parametrize("data", WRONG_STREAMS.values(), ids=WRONG_STREAMS)
def test_a_wrong_stream_is_refused(data: bytes) -> None:
    with pytest.raises(AssertionError):
        read_stream(data)


def test_a_good_completion_is_read() -> None:
    completed = read_completion(json.dumps(COMPLETION).encode())
    assert completed.choice.text == "Teal"
    assert completed.usage == COUNTS


@pytest.mark.parametrize("other", WRONG_COMPLETIONS.values(), ids=WRONG_COMPLETIONS)
def test_a_wrong_completion_is_refused(other: Body) -> None:
    with pytest.raises(AssertionError):
        read_completion(json.dumps(COMPLETION | other).encode())
