"""What answers cost, in instructions of Python's own machine: those count the same on every computer.

The bounds stand a sixth or so above what Python 3.11 counted when they were set. Whoever breaks one has made
every answer dearer, or has a reason to raise it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import bridge as package
from bridge.exchange.exchange import Exchange
from bridge.exchange.request_context import RequestContext
from bridge.openai.endpoints import CHAT
from bridge.openai.request_validation import parse_request
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.request_log import RequestRecord
from tests.exchange.single_exchange import ID, NOW, new_exchange, request, table
from tests.raw_client import HELLO
from tests.raw_upstream import Connection, chunk, http_response, responder, run_upstream
from tests.running_bridge import run_bridge
from tests.upstream.formats import DONE, event, stream_head

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

OURS = package.__path__[0]

CUSTOM = """
prompt: join
request:
  body:
    model: $.model
    params: {prompt: ["$.prompt"], max_tokens: $.max_tokens, temperature: $.temperature}
response: $.data[0].output[0]
stream: {text: $.text, framing: sse}
error: {when: {$.message: {not: ok}}, message: $.message}
"""
OPENAI_ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 5,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Deep teal. " * 20, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
}
ANSWER = {"data": [{"prompt": "hi", "output": ["Deep teal. " * 20]}], "message": "ok"}


class Count:
    """Instructions that were run in the bridge's own code."""

    def __init__(self) -> None:
        self.instructions = 0

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.instructions += event == "opcode"
        return self._step

    def enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step


@contextmanager
def counted() -> Iterator[Count]:
    """What is run within the block."""
    count, before = Count(), sys.gettrace()
    sys.settrace(count.enter)
    try:
        yield count
    finally:
        sys.settrace(before)


def completed(data: bytes, answer: bytes) -> bytes:
    """A whole answer, from the client's bytes to the client's bytes, without the sockets."""
    body = parse_request(CHAT, data)
    route, _ = table(CUSTOM).find(body["model"], CHAT)
    exchange = Exchange(RequestContext(route, CHAT, body, data, id=ID, now=NOW))
    (call,) = exchange.calls
    call.request()
    exchange.start(call, 200, {})
    return exchange.feed(call, answer) + exchange.close(call)


def test_a_whole_answer() -> None:
    data = json.dumps(request(max_tokens=64, temperature=0.2)).encode()
    answer = json.dumps(ANSWER).encode()
    assert b"Deep teal" in completed(data, answer)  # what is decided once has been decided by then
    for _ in range(3):  # newer Pythons begin to count in code that was run so before
        with counted() as count:
            completed(data, answer)
    assert 500 < count.instructions < 1800


def test_the_response_of_an_openai_completion() -> None:
    sent = json.dumps(OPENAI_ANSWER).encode()
    for _ in range(3):
        exchange = new_exchange("name: openai")
        (call,) = exchange.calls
        with counted() as count:
            exchange.start(call, 200, {})
            assert exchange.feed(call, sent) + exchange.close(call) == sent
    assert 300 < count.instructions < 1020


def costs(frames: list[bytes]) -> list[int]:
    """What the frames of one stream cost, each."""
    exchange = new_exchange(CUSTOM, request(stream=True))
    (call,) = exchange.calls
    exchange.start(call, 200, {})
    found = []
    for data in frames:
        with counted() as count:
            assert exchange.feed(call, data)
        found.append(count.instructions)
    return found


def test_a_frame_that_differs_in_its_text_alone() -> None:
    frames = [b'data: {"text":"word %d"}\n\n' % number for number in range(10)]
    costs(frames)
    first, *others = costs(frames)
    assert 200 < max(others) < 500
    assert max(others) < first / 2


def test_a_frame_that_is_read() -> None:
    *_, latest = costs([b'data: {"text":"word %d","at":%d}\n\n' % (n, n) for n in range(10, 40)])
    assert 200 < latest < 1100


async def test_a_whole_answer_through_all_floors() -> None:
    text = "routes: [{models: m, upstream: '${UPSTREAM}', response: '$.data[0].output[0]', prompt: join}]"
    async with (
        run_upstream(responder(http_response(ANSWER))) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
        bridge.connect() as client,
    ):
        found = []
        for _ in range(12):
            with counted() as count:
                await client.send(HELLO)
                assert (await client.response()).status == 200
            found.append(count.instructions)
        assert 1000 < min(found) < 3700


def test_the_record_of_a_request() -> None:
    metrics = Metrics()
    for _ in range(3):
        with counted() as count:
            record = RequestRecord(metrics, "route", CHAT, "m", "id")
            record.finish(None, 200)
            record.release()
    assert 100 < count.instructions < 400


def spoken(text: str) -> bytes:
    """A chunk as OpenAI sends it."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    return event(
        {"id": "c", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [choice]}
    )


async def test_a_chunk_alone_through_all_floors() -> None:
    texts: asyncio.Queue[bytes] = asyncio.Queue()

    async def behave(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head())
        while data := await texts.get():
            await peer.send(chunk(data))
        await peer.send(chunk(DONE) + chunk(b""))

    text = "routes: [{models: m, upstream: '${UPSTREAM}'}]"
    async with (
        run_upstream(behave) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
        bridge.connect() as client,
    ):
        await client.send({**HELLO, "stream": True})
        texts.put_nowait(spoken("first"))
        await client.head()
        for number in range(12):
            with counted() as count:
                texts.put_nowait(spoken(f"word {number}"))
                await client.chunk()
            if number > 5:
                assert 300 < count.instructions < 630
        texts.put_nowait(b"")
        assert [piece async for piece in client.chunks()]
