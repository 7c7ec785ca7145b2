"""The upstream of the soak test: streams of a chunk a second, and faults that the model's name requests.

    soak-whole      CHUNKS chunks and the end
    soak-reset      a few chunks, then a reset
    soak-cut        a few chunks, then the end of the connection in the middle of a frame
    soak-silent     a few chunks, then nothing
    soak-garbled    a few chunks, then bytes that are not a chunk
    soak-refused    503

The text of a chunk is the time of its write, in nanoseconds of the monotonic clock.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import cast

import uvloop

__all__ = ["CHUNKS", "FAULTS", "PERIOD"]

CHUNKS = 30
PERIOD = 1.0  # seconds between two chunks
FAULTS = ("reset", "cut", "silent", "garbled", "refused")

_SLOTS = 100  # groups of streams, spread over a period
_CHUNKS_BEFORE_FAULT = 3
_REQUEST_END = b"\r\n\r\n"
_MODEL = re.compile(rb'"model":\s*"soak-([a-z]+)"')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_REFUSAL = b'{"error": "overload"}'
_REFUSED = b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n%b" % (len(_REFUSAL), _REFUSAL)
_END_FRAME = b"data: [DONE]\n\n"
_END = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_END_FRAME), _END_FRAME)


def _chunk() -> bytes:
    frame = b'data: {"text": "t%019de"}\n\n' % time.monotonic_ns()
    return b"%x\r\n%b\r\n" % (len(frame), frame)


class Pacer:
    """The timer of all streams."""

    def __init__(self) -> None:
        self._slots: list[set[Upstream]] = [set() for _ in range(_SLOTS)]
        self._next = 0

    def add(self, stream: Upstream) -> None:
        """Add a stream that has sent its first chunk."""
        self._slots[self._next % _SLOTS].add(stream)
        self._next += 1

    async def run(self) -> None:
        """Write to one group after the other, for ever."""
        due, number = time.monotonic(), 0
        while True:
            due += PERIOD / _SLOTS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            slot = self._slots[number % _SLOTS]
            slot.difference_update([stream for stream in slot if not stream.resume()])
            number += 1


class Upstream(asyncio.Protocol):
    """One connection of the upstream."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._received = bytearray()
        self._fault = b""
        self._sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_size = self._received.find(_REQUEST_END)
        if head_size < 0:
            return
        length = _LENGTH.search(self._received)
        size = head_size + len(_REQUEST_END) + (int(length[1]) if length else 0)
        if len(self._received) < size:
            return
        model = _MODEL.search(self._received)
        self._fault = model[1] if model else b"refused"
        del self._received[:size]
        if self._fault == b"refused":
            self._transport.write(_REFUSED)
            return
        self._sent = 1
        self._transport.write(_HEAD + _chunk())
        self._pacer.add(self)

    def resume(self) -> bool:
        """Write the next chunk, the end or the fault; return whether more follows."""
        if self._transport.is_closing():
            return False
        if self._fault != b"whole" and self._sent == _CHUNKS_BEFORE_FAULT:
            self._fail()
            return False
        if self._sent == CHUNKS:
            self._transport.write(_END)
            return False
        self._sent += 1
        self._transport.write(_chunk())
        return True

    def _fail(self) -> None:
        if self._fault == b"reset":
            self._transport.abort()
        elif self._fault == b"cut":
            self._transport.write(_chunk()[:20])
            self._transport.close()
        elif self._fault == b"garbled":
            self._transport.write(b"not a chunk\r\n")


async def main() -> None:
    """Serve on the port that the first argument names."""
    pacer = Pacer()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Upstream(pacer), "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await pacer.run()


if __name__ == "__main__":
    uvloop.run(main())
