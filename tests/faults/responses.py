"""The responses that faults interrupt, cut at the stages of a response.

response = RESPONSES["openai", True]      of a format, streaming or not
response.before("in the head")            the bytes that are sent before the fault
response.after("in the head")             the bytes that a correct upstream would send then
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.raw_upstream import chunk, head

__all__ = ["PLAIN_STAGES", "RESPONSES", "STREAM_STAGES", "TEXT", "FaultlessResponse"]

WORDS = ("Deep ", "teal ", "skies.")
TEXT = "".join(WORDS)

STREAM_STAGES = (
    "before the head", "in the head", "after the head", "in the first frame", "after the first frame",
    "in a later frame", "before the end", "after the end",
)  # fmt: skip
PLAIN_STAGES = ("before the head", "in the head", "after the head", "in the body", "after the end")


@dataclass(frozen=True)
class FaultlessResponse:
    """A correct response. `pieces` are the bytes between its stages."""

    stages: tuple[str, ...]
    pieces: tuple[bytes, ...]

    def before(self, stage: str) -> bytes:
        """Return the bytes before a stage."""
        return b"".join(self.pieces[: self.stages.index(stage)])

    def after(self, stage: str) -> bytes:
        """Return the bytes from a stage on."""
        return b"".join(self.pieces[self.stages.index(stage) :])


def _stream(frames: list[bytes], end: bytes) -> FaultlessResponse:
    start = head(200, content_type="text/event-stream", transfer_encoding="chunked", connection="close")
    first, *middle, last = (b"data: " + frame + b"\n\n" for frame in frames)
    pieces = (
        start[:20], start[20:], chunk(first[:30]), chunk(first[30:]),
        b"".join(map(chunk, middle)) + chunk(last[:30]), chunk(last[30:]), chunk(end) + chunk(b""),
    )  # fmt: skip
    return FaultlessResponse(STREAM_STAGES, pieces)


def _plain(body: bytes) -> FaultlessResponse:
    start = head(200, content_type="application/json", content_length=str(len(body)), connection="close")
    half = len(body) // 2
    return FaultlessResponse(PLAIN_STAGES, (start[:20], start[20:], body[:half], body[half:]))


def _openai_chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    ).encode()


_OPENAI_BODY = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
}  # fmt: skip

# By format and by whether the response is a stream. The last frame of the custom format contains its `done`.
RESPONSES = {
    ("openai", True): _stream(
        [*(_openai_chunk({"content": word}) for word in WORDS), _openai_chunk({}, "stop")],
        b"data: [DONE]\n\n",
    ),
    ("openai", False): _plain(json.dumps(_OPENAI_BODY).encode()),
    ("custom", True): _stream(
        [json.dumps({"output": {"piece": word}, "state": "running"}).encode() for word in WORDS],
        b'data: {"state": "complete"}\n\n',
    ),
    ("custom", False): _plain(json.dumps({"output": {"answer": TEXT}, "state": "complete"}).encode()),
}
