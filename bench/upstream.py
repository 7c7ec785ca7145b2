"""The model server of the benchmark: its responses are prepared at start, so that it costs next to nothing.

The name of a model is FORMAT-WAY: a format of `FORMATS`, and one of these ways.

    whole    one JSON body
    burst    100 chunks, at full speed
    paced    a chunk at once, then one every 20 ms
    short    a chunk at once, and the end up to 20 ms later
    idle     a chunk at once, then nothing

The text of a chunk of the last three is the time of its write, in nanoseconds of the monotonic clock. Each
chunk is written alone when it is due, and not at the end of the event loop's iteration.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNKS = 100  # of a burst
PACED = 150  # chunks of a paced stream
PERIOD = 0.02  # seconds between two paced chunks
_SLOTS = 20  # groups of paced streams, spread over a period

_MODEL = re.compile(rb'"model":\s*"([a-z]+)-([a-z]+)"')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


class Format(NamedTuple):
    """A format of responses."""

    content_type: str  # of streams
    whole: Any  # the document of a non-streaming response
    frame: Callable[[str, int], bytes]  # of a text and its number in the stream
    end: bytes  # of a stream


def word(number: int) -> str:
    """Return the text of a chunk of a burst."""
    return f" word{number:02}"


def _openai(text: str) -> bytes:
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}],
    }
    return json.dumps(chunk, separators=(",", ":")).encode()


def _custom(text: str) -> bytes:
    return json.dumps({"text": text, "tokens": 1}, separators=(",", ":")).encode()


_TEXT = "Deep teal, mostly, and grey where it is shallow. " * 4
_COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": _TEXT, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 40, "total_tokens": 49},
}
_LITELLM = {"data": [{"prompt": "hi", "output": [_TEXT], "params": {"temperature": 0.2}}], "message": "ok"}
_LAST_CHUNK = json.dumps(
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, separators=(",", ":")
).encode()

FORMATS = {
    "openai": Format(
        "text/event-stream",
        _COMPLETION,
        lambda text, _: b"data: " + _openai(text) + b"\n\n",
        b"data: " + _LAST_CHUNK + b"\n\ndata: [DONE]\n\n",
    ),
    "sse": Format(
        "text/event-stream",
        _LITELLM,
        lambda text, _: b"data: " + _custom(text) + b"\n\n",
        b"data: [DONE]\n\n",
    ),
    "ndjson": Format("application/x-ndjson", _LITELLM, lambda text, _: _custom(text) + b"\n", b""),
    "nul": Format("application/octet-stream", _LITELLM, lambda text, _: _custom(text) + b"\0", b""),
    "cumulative": Format(
        "text/event-stream",
        _LITELLM,
        lambda text, number: b"data: " + _custom("".join(map(word, range(number))) + text) + b"\n\n",
        b"data: [DONE]\n\n",
    ),
}


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _head(kind: str, rest: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{rest}\r\n\r\n".encode()


def _prepared() -> dict[tuple[bytes, bytes], bytes]:
    """Return the bytes of every response that is sent at once."""
    responses = {}
    for name, form in FORMATS.items():
        body = json.dumps(form.whole).encode()
        whole = _head("application/json", f"Content-Length: {len(body)}") + body
        responses[name.encode(), b"whole"] = whole
        frames = [_http_chunk(form.frame(word(number), number)) for number in range(CHUNKS)]
        end = (_http_chunk(form.end) if form.end else b"") + b"0\r\n\r\n"
        head = _head(form.content_type, "Transfer-Encoding: chunked")
        responses[name.encode(), b"burst"] = head + b"".join(frames) + end
    return responses


class _Ticker(NamedTuple):
    """The parts of a stream of times: a head, a chunk with a hole for the time, and the end."""

    head: bytes
    chunk: bytes
    end: bytes

    @classmethod
    def of(cls, form: Format) -> _Ticker:
        # Always 19 digits, so that the chunk's length does not change.
        chunk = _http_chunk(form.frame(f"t{0:019}e", 0)).replace(b"%", b"%%").replace(b"0" * 19, b"%019d")
        end = (_http_chunk(form.end) if form.end else b"") + b"0\r\n\r\n"
        return cls(_head(form.content_type, "Transfer-Encoding: chunked"), chunk, end)

    def now(self) -> bytes:
        return self.chunk % time.monotonic_ns()


def _write(transport: asyncio.Transport, number: int, data: bytes) -> None:
    """Write to the descriptor at once: uvloop would gather the writes of one iteration, and send later."""
    if not transport.get_write_buffer_size():
        try:
            data = data[os.write(number, data) :]
        except BlockingIOError:
            pass
        except OSError:
            return
    if data:
        transport.write(data)


class _Paced:
    """One stream of times."""

    def __init__(self, transport: asyncio.Transport, ticker: _Ticker, chunks: int) -> None:
        self._transport = transport
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._ticker = ticker
        self._left = chunks

    def begin(self) -> None:
        """Write the head and the first chunk."""
        self._left -= 1
        _write(self._transport, self._descriptor, self._ticker.head + self._ticker.now())

    def resume(self) -> bool:
        """Write the next chunk or the end; return whether more chunks follow."""
        if self._transport.is_closing():
            return False
        self._left -= 1
        _write(self._transport, self._descriptor, self._ticker.now() if self._left >= 0 else self._ticker.end)
        return self._left >= 0


class _Pacer:
    """A timer that writes to all paced streams, group by group."""

    def __init__(self) -> None:
        self._slots: list[set[_Paced]] = [set() for _ in range(_SLOTS)]
        self._next = 0

    def add(self, stream: _Paced) -> None:
        """Add a stream that has begun."""
        self._slots[self._next % _SLOTS].add(stream)
        self._next += 1

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due, turn = loop.time(), 0
        while True:
            turn += 1
            # A late pacer does not catch up: chunks would follow each other faster than their period.
            due = max(due + PERIOD / _SLOTS, loop.time() - PERIOD / _SLOTS)
            await asyncio.sleep(max(due - loop.time(), 0))
            slot = self._slots[turn % _SLOTS]
            slot.difference_update([stream for stream in slot if not stream.resume()])


class _Server(asyncio.Protocol):
    """One connection, which answers requests with prepared bytes."""

    def __init__(
        self, responses: dict[tuple[bytes, bytes], bytes], tickers: dict[bytes, _Ticker], pacer: _Pacer
    ) -> None:
        self._responses = responses
        self._tickers = tickers
        self._pacer = pacer
        self._pieces: list[bytes] = []
        self._received = self._required = 0  # bytes
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._received += len(data)
        # Large bodies arrive in many pieces, which are joined once.
        while self._received and self._received >= self._required:
            data_so_far = b"".join(self._pieces)
            at = data_so_far.find(b"\r\n\r\n")
            length = _LENGTH.search(data_so_far, 0, at + 2)
            end = at + 4 + (int(length[1]) if length else 0)
            if whole := at >= 0 and len(data_so_far) >= end:
                self._respond(data_so_far[at:end])
                data_so_far = data_so_far[end:]
            self._pieces, self._received = [data_so_far], len(data_so_far)
            self._required = 0 if whole or at < 0 else end
            if not whole:
                break

    def _respond(self, body: bytes) -> None:
        assert self._transport is not None
        match = _MODEL.search(body)
        form, way = (match[1], match[2]) if match else (b"openai", b"whole")
        response = self._responses.get((form, way))
        if response is not None:
            self._transport.write(response)
            return
        stream = _Paced(self._transport, self._tickers[form], PACED if way == b"paced" else 1)
        stream.begin()
        if way != b"idle":
            self._pacer.add(stream)


async def _serve(port: int) -> None:
    responses, pacer = _prepared(), _Pacer()
    tickers = {name.encode(): _Ticker.of(form) for name, form in FORMATS.items()}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Server(responses, tickers, pacer), "127.0.0.1", port, backlog=4096
    )
    async with server:
        await pacer.run()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
