"""The model server of the benchmark: answers prepared at start, so that it costs next to nothing.

The model's name says what is wanted, FORMAT-WAY: a format of `FORMATS`, and a way of `_WAYS`.

    whole    one JSON body                            burst   100 chunks, as fast as they go
    paced    a chunk at once, then one each 20 ms     idle    a chunk at once, and then nothing

The text of a chunk of the last two is the time at which it was written, in nanoseconds of the steady clock.
Each is written alone, when it is due, and not at the end of the event loop's turn.
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
_SLOTS = 20  # groups of paced streams, which take turns within a period

_MODEL = re.compile(rb'"model":\s*"([a-z]+)-([a-z]+)"')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


class Format(NamedTuple):
    """A wire format: its whole body, and how text `number` is framed in a stream of it."""

    content_type: str
    whole: Any
    frame: Callable[[str, int], bytes]
    end: bytes


def word(number: int) -> str:
    """The text of a chunk of a burst."""
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


_SAID = "Deep teal, mostly, and grey where it is shallow. " * 4
_COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": _SAID, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 40, "total_tokens": 49},
}
_LITELLM = {"data": [{"prompt": "hi", "output": [_SAID], "params": {"temperature": 0.2}}], "message": "ok"}
_LAST = json.dumps(
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, separators=(",", ":")
).encode()

FORMATS = {
    "openai": Format(
        "text/event-stream",
        _COMPLETION,
        lambda text, _: b"data: " + _openai(text) + b"\n\n",
        b"data: " + _LAST + b"\n\ndata: [DONE]\n\n",
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


def _piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _head(kind: str, rest: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{rest}\r\n\r\n".encode()


def _prepared() -> dict[tuple[bytes, bytes], bytes]:
    """The bytes of every answer that does not wait."""
    answers = {}
    for name, form in FORMATS.items():
        body = json.dumps(form.whole).encode()
        whole = _head("application/json", f"Content-Length: {len(body)}") + body
        answers[name.encode(), b"whole"] = whole
        frames = [_piece(form.frame(word(number), number)) for number in range(CHUNKS)]
        end = (_piece(form.end) if form.end else b"") + b"0\r\n\r\n"
        head = _head(form.content_type, "Transfer-Encoding: chunked")
        answers[name.encode(), b"burst"] = head + b"".join(frames) + end
    return answers


class _Ticker(NamedTuple):
    """What a stream of moments is made of: a chunk with a hole for the time, and the end."""

    head: bytes
    chunk: bytes
    end: bytes

    @classmethod
    def of(cls, form: Format) -> _Ticker:
        # Always 19 digits, so that the chunk's length does not change.
        chunk = _piece(form.frame(f"t{0:019}e", 0)).replace(b"%", b"%%").replace(b"0" * 19, b"%019d")
        end = (_piece(form.end) if form.end else b"") + b"0\r\n\r\n"
        return cls(_head(form.content_type, "Transfer-Encoding: chunked"), chunk, end)

    def now(self) -> bytes:
        return self.chunk % time.monotonic_ns()


def _write(transport: asyncio.Transport, number: int, data: bytes) -> None:
    """Write now, to a descriptor: uvloop would gather what one turn of the loop writes, and do it later."""
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
    """One stream of moments."""

    def __init__(self, transport: asyncio.Transport, ticker: _Ticker) -> None:
        self._transport = transport
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._ticker = ticker
        self._left = PACED

    def begin(self) -> None:
        """The head and the first chunk."""
        self._left -= 1
        _write(self._transport, self._descriptor, self._ticker.head + self._ticker.now())

    def go_on(self) -> bool:
        """One more chunk, or the end; says whether there is more to come."""
        if self._transport.is_closing():
            return False
        self._left -= 1
        _write(self._transport, self._descriptor, self._ticker.now() if self._left >= 0 else self._ticker.end)
        return self._left >= 0


class _Pacer:
    """Writes to all paced streams: one timer for each group of them, not for each stream."""

    def __init__(self) -> None:
        self._slots: list[set[_Paced]] = [set() for _ in range(_SLOTS)]
        self._next = 0

    def add(self, stream: _Paced) -> None:
        """Go on with a stream that has begun."""
        self._slots[self._next % _SLOTS].add(stream)
        self._next += 1

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due, turn = loop.time(), 0
        while True:
            turn += 1
            # Behind its time it does not hurry: chunks would come closer together than they are said to.
            due = max(due + PERIOD / _SLOTS, loop.time() - PERIOD / _SLOTS)
            await asyncio.sleep(max(due - loop.time(), 0))
            slot = self._slots[turn % _SLOTS]
            slot.difference_update([stream for stream in slot if not stream.go_on()])


class _Server(asyncio.Protocol):
    """One connection: requests in, prepared bytes out."""

    def __init__(
        self, answers: dict[tuple[bytes, bytes], bytes], tickers: dict[bytes, _Ticker], pacer: _Pacer
    ) -> None:
        self._answers = answers
        self._tickers = tickers
        self._pacer = pacer
        self._pieces: list[bytes] = []
        self._got = self._wanted = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._got += len(data)
        # Large bodies come in many pieces, which are put together once.
        while self._got and self._got >= self._wanted:
            held = b"".join(self._pieces)
            at = held.find(b"\r\n\r\n")
            length = _LENGTH.search(held, 0, at + 2)
            end = at + 4 + (int(length[1]) if length else 0)
            if whole := at >= 0 and len(held) >= end:
                self._answer(held[at:end])
                held = held[end:]
            self._pieces, self._got = [held], len(held)
            self._wanted = 0 if whole or at < 0 else end
            if not whole:
                break

    def _answer(self, body: bytes) -> None:
        assert self._transport is not None
        found = _MODEL.search(body)
        form, way = (found[1], found[2]) if found else (b"openai", b"whole")
        answer = self._answers.get((form, way))
        if answer is not None:
            self._transport.write(answer)
            return
        stream = _Paced(self._transport, self._tickers[form])
        stream.begin()
        if way == b"paced":
            self._pacer.add(stream)


async def _serve(port: int) -> None:
    answers, pacer = _prepared(), _Pacer()
    tickers = {name.encode(): _Ticker.of(form) for name, form in FORMATS.items()}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Server(answers, tickers, pacer), "127.0.0.1", port, backlog=4096
    )
    async with server:
        await pacer.run()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
