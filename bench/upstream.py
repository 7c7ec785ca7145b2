"""The model server of the benchmark: answers prepared at start, so that it costs next to nothing.

The model's name says what is wanted, FORMAT-WAY: a format of `FORMATS`, and a way of `_WAYS`.

    whole    one JSON body                        burst   100 chunks, as fast as they go
    paced    100 chunks, one each 20 ms           idle    one chunk, and then nothing

A paced chunk's text is the time at which it was sent, in nanoseconds of the system's steady clock.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNKS = 100
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
        lambda text, number: b"data: " + _custom(text * (number + 1)) + b"\n\n",
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
        frames = [_piece(form.frame(f" word{number:02}", number)) for number in range(CHUNKS)]
        end = (_piece(form.end) if form.end else b"") + b"0\r\n\r\n"
        head = _head(form.content_type, "Transfer-Encoding: chunked")
        answers[name.encode(), b"burst"] = head + b"".join(frames) + end
    return answers


class _Pacer:
    """Writes to all paced streams: one timer for each group of them, not for each stream."""

    def __init__(self) -> None:
        self._slots: list[dict[asyncio.Transport, tuple[Format, int]]] = [{} for _ in range(_SLOTS)]
        self._next = 0

    def add(self, transport: asyncio.Transport, form: Format) -> None:
        self._slots[self._next % _SLOTS][transport] = (form, 0)
        self._next += 1

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        begun, turn = loop.time(), 0
        while True:
            turn += 1
            await asyncio.sleep(max(begun + turn * PERIOD / _SLOTS - loop.time(), 0))
            slot = self._slots[turn % _SLOTS]
            for transport, (form, number) in list(slot.items()):
                if transport.is_closing():
                    del slot[transport]
                elif number < CHUNKS:
                    transport.write(_piece(form.frame(f"t{time.monotonic_ns()}e", number)))
                    slot[transport] = (form, number + 1)
                else:
                    transport.write((_piece(form.end) if form.end else b"") + b"0\r\n\r\n")
                    del slot[transport]


class _Server(asyncio.Protocol):
    """One connection: requests in, prepared bytes out."""

    def __init__(self, answers: dict[tuple[bytes, bytes], bytes], pacer: _Pacer) -> None:
        self._answers = answers
        self._pacer = pacer
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        held = self._held + data if self._held else data
        while (at := held.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(held, 0, at + 2)
            end = at + 4 + (int(length[1]) if length else 0)
            if len(held) < end:
                break
            self._answer(held[at:end])
            held = held[end:]
        self._held = held

    def _answer(self, body: bytes) -> None:
        assert self._transport is not None
        found = _MODEL.search(body)
        form, way = (found[1], found[2]) if found else (b"openai", b"whole")
        answer = self._answers.get((form, way))
        if answer is not None:
            self._transport.write(answer)
            return
        known = FORMATS[form.decode()]
        head = _head(known.content_type, "Transfer-Encoding: chunked")
        if way == b"idle":
            self._transport.write(head + _piece(known.frame("hi", 0)))
        else:
            self._transport.write(head)
            self._pacer.add(self._transport, known)


async def _serve(port: int) -> None:
    answers, pacer = _prepared(), _Pacer()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Server(answers, pacer), "127.0.0.1", port, backlog=4096)
    async with server:
        await pacer.run()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
