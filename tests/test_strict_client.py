"""The strict client of the tests: every test that parses a response relies on its rejections."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.strict_client import read_completion, read_stream

Body = dict[str, Any]

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
COUNTS = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
DONE = b"data: [DONE]\n\n"


def chunk(delta: Body, finish: str | None = None, **members: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({**HEAD, "choices": [choice], **members})


def event(body: Body) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
TEXT = chunk({"content": "Teal"})
END = chunk({}, "stop")
USAGE = event({**HEAD, "choices": [], "usage": COUNTS})
ERROR = event({"error": {"message": "no", "type": "server_error", "param": None, "code": None}})

INVALID_STREAMS = {
    "nothing": b"",
    "missing blank line at the end": ROLE + TEXT + END + DONE.strip(),
    "an event without data": ROLE + b": ping\n\n" + TEXT + END + DONE,
    "several lines": ROLE + TEXT.replace(b"data: ", b"id: 1\ndata: ", 1) + END + DONE,
    "missing [DONE]": ROLE + TEXT + END,
    "two [DONE]": ROLE + TEXT + END + DONE + DONE,
    "incomplete JSON": ROLE + b'data: {"id": \n\n' + END + DONE,
    "no choices": DONE,
    "missing role": TEXT + END + DONE,
    "two roles": ROLE + ROLE + TEXT + END + DONE,
    "missing finish_reason": ROLE + TEXT + DONE,
    "two finish_reasons": ROLE + TEXT + END + END + DONE,
    "text after the finish_reason": ROLE + END + TEXT + DONE,
    "unknown finish_reason": ROLE + chunk({}, "eos") + DONE,
    "another id": ROLE + chunk({"content": "Teal"}, id="chatcmpl-2") + END + DONE,
    "another object": ROLE + chunk({"content": "Teal"}, object="chat.completion") + END + DONE,
    "fractional creation time": chunk({"role": "assistant"}, created=1.0) + END + DONE,
    "usage before any choice": USAGE + ROLE + END + DONE,
    "two usages": ROLE + END + USAGE + USAGE + DONE,
    "usage before the finish_reason": ROLE + USAGE + END + DONE,
    "usage with a choice": ROLE + chunk({}, "stop", usage=COUNTS) + DONE,
    "[DONE] after an error": ROLE + ERROR + DONE,
    "text after an error": ROLE + ERROR + TEXT,
    "an error of three members": ROLE
    + event({"error": {"message": "no", "type": "server_error", "code": None}}),
    "an error with a numeric code": ERROR.replace(b'"code": null', b'"code": 5'),
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

INVALID_COMPLETIONS: dict[str, Body] = {
    "an error": {"error": {"message": "no"}},
    "empty model": {"model": ""},
    "fractional creation time": {"created": 1.0},
    "a chunk": {"object": "chat.completion.chunk"},
    "no choices": {"choices": []},
    "only a second choice": {"choices": [{**COMPLETION["choices"][0], "index": 1}]},  # type: ignore[index]
    "missing content": {"choices": [{"index": 0, "message": {"role": "assistant"}, "finish_reason": "stop"}]},
    "null finish_reason": {
        "choices": [{"index": 0, "message": {"role": "a", "content": ""}, "finish_reason": None}]
    },
    "fractional counts": {"usage": {**COUNTS, "total_tokens": 3.0}},
    "null usage": {"usage": None},
}


def test_a_valid_stream_is_parsed() -> None:
    stream = read_stream(ROLE + TEXT + chunk({"content": " blue"}) + END + USAGE + DONE)
    assert stream.choice.chunks == ["Teal", " blue"]
    assert stream.choice.text == "Teal blue"
    assert stream.choice.role == "assistant"
    assert stream.choice.finish_reason == "stop"
    assert stream.usage == COUNTS
    assert stream.error is None


def test_a_stream_that_ends_with_an_error_is_parsed() -> None:
    stream = read_stream(ROLE + TEXT + ERROR)
    assert stream.choice.text == "Teal"
    assert stream.error is not None
    assert stream.error["message"] == "no"


def test_usage_that_was_not_requested_is_rejected() -> None:
    with pytest.raises(AssertionError):
        read_stream(ROLE + TEXT + END + USAGE + DONE, include_usage=False)


@pytest.mark.parametrize("data", INVALID_STREAMS.values(), ids=INVALID_STREAMS)
def test_an_invalid_stream_is_rejected(data: bytes) -> None:
    with pytest.raises(AssertionError):
        read_stream(data)


def test_a_valid_completion_is_parsed() -> None:
    completion = read_completion(json.dumps(COMPLETION).encode())
    assert completion.choice.text == "Teal"
    assert completion.usage == COUNTS


@pytest.mark.parametrize("members", INVALID_COMPLETIONS.values(), ids=INVALID_COMPLETIONS)
def test_an_invalid_completion_is_rejected(members: Body) -> None:
    with pytest.raises(AssertionError):
        read_completion(json.dumps(COMPLETION | members).encode())
