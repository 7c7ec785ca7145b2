"""Routes, and upstream responses that every route can read, with and without streaming.

Each frame and body has the members of two formats, OpenAI's and another, so that one upstream serves every
route, and a fault can be tested with all routes.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.raw_upstream import chunk, head

if TYPE_CHECKING:
    from tests.raw_client import Client
    from tests.raw_upstream import Connection, Request

__all__ = [
    "DONE",
    "ROUTES",
    "VARIANTS",
    "LockstepStream",
    "Variant",
    "completion",
    "event",
    "frame",
    "is_stream",
    "stream_head",
    "stream_response",
]

ROUTES = """
x-common: &common
  upstream: &upstream
    url: ${UPSTREAM}/answer
    timeouts: {connect: 60s, first_byte: 300ms, idle: 300ms}
  limits: {frame: 64KiB, answer: 256KiB, body: 64KiB}

server: {drain: 2s}
routes:
  - {<<: *common, name: openai, models: openai}
  - {<<: *common, name: own, models: own, response: $.text, stream: {text: $.delta, done: "[DONE]"}}
  - {<<: *common, name: gathered, models: gathered, response: false, stream: {text: $.delta, done: "[DONE]"}}
  - {<<: *common, name: whole, models: whole, response: $.text, stream: false}
  - name: strict
    models: strict
    upstream: *upstream
    response: $.text
    stream: {text: $.delta, done: "[DONE]"}
    error:
      when: {$.code: {not: 0}}
      message: $.msg
      code: $.code
      status: {path: $.code, map: {-4: 404, -6: 504}, default: 502}
  - {name: theirs, models: theirs, upstream: *upstream, auth: client}
  - name: total
    models: total
    upstream: {url: "${UPSTREAM}/answer", timeouts: {total: 300ms, idle: 5s}}
"""

DONE = b"data: [DONE]\n\n"


class Variant(NamedTuple):
    """A route, and whether client and upstream stream."""

    model: str
    stream: bool
    upstream: bool

    def __str__(self) -> str:
        return f"{self.model}-{'streamed' if self.stream else 'whole'}"

    @property
    def body(self) -> dict[str, Any]:
        """The client's request."""
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": "hello"}],
            **({"stream": True} if self.stream else {}),
        }


VARIANTS = [
    Variant("openai", stream=False, upstream=False),
    Variant("openai", stream=True, upstream=True),
    Variant("own", stream=False, upstream=False),
    Variant("own", stream=True, upstream=True),
    Variant("gathered", stream=False, upstream=True),
    Variant("gathered", stream=True, upstream=True),
    Variant("whole", stream=False, upstream=False),
    Variant("whole", stream=True, upstream=False),
]


def completion(text: str) -> dict[str, Any]:
    """Return a completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {**_OPENAI, "object": "chat.completion", "choices": [choice], "text": text}


def frame(text: str) -> bytes:
    """Return a chunk of a streamed completion."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return event({**_OPENAI, "object": "chat.completion.chunk", "choices": [choice], "delta": text})


def event(payload: Any) -> bytes:
    """Return an event with JSON data."""
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def stream_head(**headers: str) -> bytes:
    """Return the head of a chunked stream."""
    return head(200, content_type="text/event-stream", transfer_encoding="chunked", **headers)


def stream_response(*events: bytes) -> bytes:
    """Return a complete stream with a chunk for each event."""
    return stream_head() + b"".join(map(chunk, (*events, b"")))


def is_stream(request: Request) -> bool:
    """Return whether a request has `stream: true`."""
    return request.body.get("stream") is True


_OPENAI = {"id": "an-id", "created": 1_763_600_000, "model": "its-model"}


class LockstepStream:
    """A stream whose next word is sent only after the client has received the word before."""

    def __init__(self) -> None:
        self._words = [f"word {number} " for number in range(20)]
        self._received = asyncio.Semaphore(0)

    async def send(self, peer: Connection) -> None:
        """Send the words as the upstream."""
        await peer.request()
        await peer.send(stream_head())
        for word in self._words:
            await peer.send(chunk(frame(word)))
            await self._received.acquire()
        await peer.send(chunk(DONE) + chunk(b""))

    async def receive(self, client: Client) -> None:
        """Receive the words as the client, whose request is already sent."""
        assert (await client.head())[0] == 200
        for word in self._words:
            while word.encode() not in await client.chunk():
                pass
            self._received.release()
        assert b"[DONE]" in b"".join([piece async for piece in client.chunks()])
