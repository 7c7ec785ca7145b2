"""The cost of responses in bytecode instructions of the bridge, which are the same on every computer.

Each bound is about a sixth above the count of Python 3.11. A change that exceeds a bound makes every response
slower: find a cheaper way, or raise the bound with a reason.
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

PACKAGE_PATH = package.__path__[0]

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
OPENAI_COMPLETION = {
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
UPSTREAM_BODY = {"data": [{"prompt": "hi", "output": ["Deep teal. " * 20]}], "message": "ok"}


class InstructionCounter:
    """Counter of the instructions that run in the bridge's own modules.

    Attributes:
        instructions: The count.
    """

    def __init__(self) -> None:
        self.instructions = 0

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.instructions += event == "opcode"
        return self._step

    def enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Count the instructions of a frame of the bridge."""
        if not frame.f_code.co_filename.startswith(PACKAGE_PATH):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step


@contextmanager
def traced(counter: InstructionCounter) -> Iterator[None]:
    """Count the instructions of a block. Python 3.12 and later count only code that was traced before."""
    before = sys.gettrace()
    sys.settrace(counter.enter)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def counted() -> Iterator[InstructionCounter]:
    """Count the instructions of a block. Fail if the block runs none: the tracing is broken then."""
    counter = InstructionCounter()
    with traced(counter):
        yield counter
    assert counter.instructions > 0


def complete(data: bytes, upstream_body: bytes) -> bytes:
    """Turn a request and an upstream response into the client's response, without sockets."""
    body = parse_request(CHAT, data)
    route, _ = table(CUSTOM).find(body["model"], CHAT)
    exchange = Exchange(RequestContext(route, CHAT, body, data, id=ID, now=NOW))
    (call,) = exchange.calls
    call.request()
    exchange.start(call, 200, {})
    return exchange.feed(call, upstream_body) + exchange.close(call)


def frame_costs(frames: list[bytes]) -> list[int]:
    """Return the instructions of every frame of a stream."""
    exchange = new_exchange(CUSTOM, request(stream=True))
    (call,) = exchange.calls
    exchange.start(call, 200, {})
    counts = []
    for data in frames:
        with counted() as counter:
            assert exchange.feed(call, data)
        counts.append(counter.instructions)
    return counts


def test_a_completion_is_within_its_bound() -> None:
    data = json.dumps(request(max_tokens=64, temperature=0.2)).encode()
    upstream_body = json.dumps(UPSTREAM_BODY).encode()
    assert b"Deep teal" in complete(data, upstream_body)  # fills the caches of the route
    for _ in range(3):  # Python 3.12 and later trace only code objects that ran under tracing before
        with counted() as counter:
            complete(data, upstream_body)
    assert counter.instructions < 1900


def test_a_completion_of_openai_is_within_its_bound() -> None:
    sent = json.dumps(OPENAI_COMPLETION).encode()
    for _ in range(3):
        exchange = new_exchange("name: openai")
        (call,) = exchange.calls
        with counted() as counter:
            exchange.start(call, 200, {})
            assert exchange.feed(call, sent) + exchange.close(call) == sent
    assert counter.instructions < 1020


def test_a_frame_that_differs_only_in_its_text_is_within_its_bound() -> None:
    frames = [b'data: {"text":"word %d"}\n\n' % number for number in range(10)]
    frame_costs(frames)
    first, *others = frame_costs(frames)
    assert max(others) < 430
    assert max(others) < first / 2


def test_a_frame_that_is_decoded_is_within_its_bound() -> None:
    *_, latest = frame_costs([b'data: {"text":"word %d","at":%d}\n\n' % (n, n) for n in range(10, 40)])
    assert latest < 1040


async def test_a_completion_over_http_is_within_its_bound() -> None:
    text = "routes: [{models: m, upstream: '${UPSTREAM}', response: '$.data[0].output[0]'}]"
    async with (
        run_upstream(responder(http_response(UPSTREAM_BODY))) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
        bridge.connect() as client,
    ):
        counts = []
        for _ in range(12):
            with counted() as counter:
                await client.send(HELLO)
                assert (await client.response()).status == 200
            counts.append(counter.instructions)
        assert min(counts) < 4000


def test_a_record_of_a_request_is_within_its_bound() -> None:
    metrics = Metrics()
    for _ in range(3):
        with counted() as counter:
            record = RequestRecord(metrics, "route", CHAT, "m", "id")
            record.finish(None, 200)
            record.release()
    assert counter.instructions < 290  # with address and key of the client, and the model


def text_event(text: str) -> bytes:
    """Return the event of a chunk in OpenAI's shape."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    return event(
        {"id": "c", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [choice]}
    )


async def test_a_chunk_over_http_is_within_its_bound() -> None:
    events: asyncio.Queue[bytes] = asyncio.Queue()

    async def stream_events(peer: Connection) -> None:
        await peer.request()
        await peer.send(stream_head())
        while data := await events.get():
            await peer.send(chunk(data))
        await peer.send(chunk(DONE) + chunk(b""))

    text = "routes: [{models: m, upstream: '${UPSTREAM}'}]"
    async with (
        run_upstream(stream_events) as server,
        run_bridge(text, {"UPSTREAM": server.url}) as bridge,
        bridge.connect() as client,
    ):
        await client.send({**HELLO, "stream": True})
        events.put_nowait(text_event("first"))
        await client.head()
        await client.chunk()
        counts = []
        for number in range(12):
            with counted() as counter:
                events.put_nowait(text_event(f"word {number}"))
                await client.chunk()
            counts.append(counter.instructions)
        events.put_nowait(b"")
        assert [piece async for piece in client.chunks()]
        assert max(counts[6:]) < 643
