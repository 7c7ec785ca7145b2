"""The clients of the soak test: each begins a new stream when its last one has ended.

python -m bench.soak.load PORT CLIENTS SECONDS

Some streams fail at the upstream, and some are left by their client. Prints one line of JSON: the number of
streams by their ends, and percentiles of the time from the upstream's write of a chunk to its arrival.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from functools import partial
from typing import cast

import uvloop

from bench.soak.upstream import CHUNKS, FAULTS

__all__ = ["main"]

_FAULT_SHARE = 0.02
_LEAVE_SHARE = 0.02
_START_RATE = 400  # new streams a second at first
_END_GRACE = CHUNKS + 15  # seconds that the last streams get
_SENT = re.compile(rb"t(\d{19})e")
_END = b"0\r\n\r\n"
_MAX_AGES = 2_000_000


def _request(model: str) -> bytes:
    document = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    body = json.dumps(document).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


_WHOLE = _request("soak-whole")
_FAULTY = {fault: _request(f"soak-{fault}") for fault in FAULTS}


class Tally:
    """The results of all streams.

    Attributes:
        ends: The number of streams by what became of them.
        ages: Times from the upstream's write to the arrival, in nanoseconds.
    """

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.ages: list[int] = []


class Stream(asyncio.Protocol):
    """One stream. `kind` is "whole", "left" or the name of a fault."""

    def __init__(self, kind: str, tally: Tally) -> None:
        self._kind = kind
        self._tally = tally
        self._leaves_at = random.randrange(1, CHUNKS) if kind == "left" else 0
        self._chunks = 0
        self._tail = b""
        self._failed = False
        self._ended = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_FAULTY.get(self._kind, _WHOLE))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        text = self._tail + data
        end = 0
        for match in _SENT.finditer(text):
            end = match.end()
            self._chunks += 1
            if len(self._tally.ages) < _MAX_AGES:
                self._tally.ages.append(now - int(match[1]))
        self._failed = self._failed or b'"error"' in text
        self._tail = text[max(end, len(text) - 20) :]
        if self._leaves_at and self._chunks >= self._leaves_at:
            self._transport.abort()
        elif text.endswith(_END) or b"HTTP/1.1 503" in text:
            self._ended = True
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._tally.ends[self._end()] += 1
        if not self.over.done():
            self.over.set_result(None)

    def _end(self) -> str:
        if self._kind == "left":
            return "left by the client"
        if self._kind == "whole":
            return "whole" if self._ended and self._chunks == CHUNKS and not self._failed else "NOT WHOLE"
        return "an error of a fault" if self._failed and self._ended else f"NO ERROR OF {self._kind}"


def _kind() -> str:
    share = random.random()
    if share < _FAULT_SHARE:
        return random.choice(FAULTS)
    return "left" if share < _FAULT_SHARE + _LEAVE_SHARE else "whole"


async def _client(port: int, until: float, tally: Tally) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        kind = _kind()
        try:
            _, stream = await loop.create_connection(partial(Stream, kind, tally), "127.0.0.1", port)
        except OSError as error:
            tally.ends[f"NO CONNECTION: {error}"] += 1
            await asyncio.sleep(1)
            continue
        await stream.over


async def main() -> None:
    """Run the clients."""
    port, count, seconds = (int(argument) for argument in sys.argv[1:])
    tally = Tally()
    until = asyncio.get_running_loop().time() + seconds
    clients = []
    for _ in range(count):
        clients.append(asyncio.ensure_future(_client(port, until, tally)))
        await asyncio.sleep(1 / _START_RATE)
    _, late = await asyncio.wait(clients, timeout=seconds + _END_GRACE)
    tally.ends["NEVER ENDED"] += len(late)
    ages = sorted(tally.ages)
    shares = {f"p{share}": ages[int(len(ages) * share / 100)] / 1e6 for share in (50, 99, 99.9)}
    print(json.dumps({"ends": tally.ends, "chunks": len(ages), "ms": shares}))


if __name__ == "__main__":
    uvloop.run(main())
