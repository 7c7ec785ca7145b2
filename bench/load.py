"""What wrk cannot do: requests at a steady rate, paced streams, streams that idle. Prints one line of JSON.

python -m bench.load PORT KIND MODEL COUNT [RATE SECONDS]

    rate     COUNT connections ask for whole answers, RATE a second together, for SECONDS
    paced    COUNT streams, each read to its end
    idle     COUNT streams that only begin; ends when its standard input does
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time
from typing import Any, cast

import uvloop

_SENT = re.compile(rb"t(\d{12,})e")
_CLOCK = time.monotonic_ns


def request(model: str, *, stream: bool) -> bytes:
    """The bytes of one request."""
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": "Name a colour of the sea."}],
        "max_tokens": 64,
        "temperature": 0.2,
        "stream": stream,
    }
    body = json.dumps(asked).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer bench\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body


class Stream(asyncio.Protocol):
    """One stream: when its first text came, and how old each text was."""

    def __init__(
        self, data: bytes, ages: list[int], firsts: list[int], begun: asyncio.Semaphore | None
    ) -> None:
        self._data = data
        self._ages = ages
        self._firsts = firsts
        self._first = begun
        self._asked = 0
        self._end = b""
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._asked = _CLOCK()
        self._transport.write(self._data)

    def data_received(self, data: bytes) -> None:
        now = _CLOCK()
        sent = _SENT.findall(data)
        if sent:
            if not self._end:
                self._firsts.append(now - self._asked)
            self._ages += [now - int(one) for one in sent]
        if self._first is not None and b"hi" in data:
            self._first.release()
            self._first = None
        self._end = (self._end + data)[-5:]
        if self._end == b"0\r\n\r\n" and not self.over.done():
            self.over.set_result(True)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(False)


class Asking(asyncio.Protocol):
    """One connection that asks for whole answers, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._held = b""
        self._answer: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    async def ask(self) -> None:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._data)
        await self._answer

    def data_received(self, data: bytes) -> None:
        self._held += data
        if self._held.endswith((b"}", b"0\r\n\r\n")) and self._answer is not None:
            self._held = b""
            self._answer.set_result(None)


async def rate(port: int, model: str, count: int, per_second: float, seconds: float) -> dict[str, Any]:
    """Whole answers at a rate, each timed from when it was due."""
    loop = asyncio.get_running_loop()
    data = request(model, stream=False)
    late: list[float] = []
    begun = loop.time() + 0.1

    async def connection(number: int) -> None:
        _, asking = await loop.create_connection(lambda: Asking(data), "127.0.0.1", port)
        turn = number
        while (due := begun + turn / per_second) < begun + seconds:
            await asyncio.sleep(max(due - loop.time(), 0))
            await asking.ask()
            late.append(loop.time() - due)
            turn += count

    await asyncio.gather(*(connection(number) for number in range(count)))
    return {"answers": len(late), "p50": _percentile(late, 50), "p99": _percentile(late, 99)}


async def paced(port: int, model: str, count: int) -> dict[str, Any]:
    """Paced streams, begun over one second and read to their end."""
    loop = asyncio.get_running_loop()
    data, ages, firsts = request(model, stream=True), list[int](), list[int]()
    streams: list[Stream] = []
    for _ in range(count):
        _, stream = await loop.create_connection(lambda: Stream(data, ages, firsts, None), "127.0.0.1", port)
        streams.append(stream)
        await asyncio.sleep(1 / count)
    ended = await asyncio.wait_for(asyncio.gather(*(stream.over for stream in streams)), 60)
    return {
        "chunks": len(ages),
        "failed": ended.count(False),
        "p50": _percentile(ages, 50) / 1e9,
        "p99": _percentile(ages, 99) / 1e9,
        "first_p50": _percentile(firsts, 50) / 1e9,
        "first_p99": _percentile(firsts, 99) / 1e9,
    }


async def idle(port: int, model: str, count: int) -> dict[str, Any]:
    """Streams that have begun, held open until nobody listens to standard output any more."""
    loop = asyncio.get_running_loop()
    begun = asyncio.Semaphore(0)
    data = request(model, stream=True)
    for _ in range(count):
        await loop.create_connection(lambda: Stream(data, [], [], begun), "127.0.0.1", port)
    for _ in range(count):
        await asyncio.wait_for(begun.acquire(), 30)
    print(json.dumps({"streams": count}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    return {}


def _percentile(values: list[Any], percent: int) -> float:
    if not values:
        return 0.0
    return float(sorted(values)[min(len(values) * percent // 100, len(values) - 1)])


def main() -> None:
    """Do what the command line says."""
    port, kind, model, count, *rest = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    match kind:
        case "rate":
            done = rate(int(port), model, int(count), float(rest[0]), float(rest[1]))
        case "paced":
            done = paced(int(port), model, int(count))
        case _:
            done = idle(int(port), model, int(count))
    print(json.dumps(uvloop.run(done)), flush=True)


if __name__ == "__main__":
    main()
