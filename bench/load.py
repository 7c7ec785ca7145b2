"""What wrk cannot do: requests at a steady rate, paced streams, streams that idle. Prints one line of JSON.

python -m bench.load PORT KIND MODEL COUNT [--rate RATE --seconds SECONDS --beside BESIDE] [--header LINE …]

    rate     COUNT connections ask for whole answers, RATE a second together, for SECONDS; and by turns the
             same at the port BESIDE
    paced    COUNT streams, each read to its end
    idle     COUNT streams that only begin; ends when its standard input does
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import resource
import statistics
import sys
import time
from typing import Any, cast

import uvloop

from bench.steady import lateness

SPREAD = 1.5  # seconds in which paced streams begin; each takes twice that, so all are open for a while
_TURN = 0.25  # seconds
_ANSWERS = 100  # in a turn, at least
_SENT = re.compile(rb"t(\d{19})e")
_PART = 20  # bytes: the most that there can be of a text that is not whole yet
_CLOCK = time.monotonic_ns


def request(model: str, headers: list[str], *, stream: bool) -> bytes:
    """The bytes of one request."""
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": "Name a colour of the sea."}],
        "max_tokens": 64,
        "temperature": 0.2,
        "stream": stream,
    }
    body = json.dumps(asked).encode()
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "Host: bench",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Seen:
    """What came of all streams, in nanoseconds: texts by age, first texts by how long after the request."""

    def __init__(self) -> None:
        self.ages: list[int] = []
        self.firsts: list[int] = []
        self.alone = 0


class Stream(asyncio.Protocol):
    """One stream. The age of a text is what has passed since the upstream wrote it."""

    def __init__(self, data: bytes, seen: Seen) -> None:
        self._data = data
        self._seen = seen
        self._asked = 0
        self._held = b""
        self.begun: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._asked = _CLOCK()
        self._transport.write(self._data)

    def data_received(self, data: bytes) -> None:
        now = _CLOCK()
        # A text may be cut in two by the network, so what may be the beginning of one is kept.
        text, end, count = self._held + data, 0, 0
        for found in _SENT.finditer(text):
            self._seen.ages.append(now - int(found[1]))
            end, count = found.end(), count + 1
        self._seen.alone += count == 1
        if count and not self.begun.done():
            self._seen.firsts.append(now - self._asked)
            self.begun.set_result(True)
        self._held = text[max(end, len(text) - _PART) :]
        if text.endswith(b"0\r\n\r\n") and not self.over.done():
            self.over.set_result(True)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        for awaited in (self.begun, self.over):
            if not awaited.done():
                awaited.set_result(False)


def rate(
    ports: tuple[int, int], data: bytes, count: int, per_second: float, seconds: float
) -> dict[str, Any]:
    """Whole answers at a rate, each timed from when it was due; the medians of the turns, in seconds.

    What the machine does meanwhile meets some turns, what a proxy does meets them all.
    """
    figures: dict[str, list[float]] = {"p50": [], "p99": [], "added_p50": [], "added_p99": []}
    turn = max(_TURN, _ANSWERS / per_second)
    for _ in range(round(seconds / turn) or 1):
        late, beside = (lateness(port, data, count, per_second, turn) for port in ports)
        for name, percent in (("p50", 50), ("p99", 99)):
            figures[name].append(_percentile(late, percent))
            figures[f"added_{name}"].append(figures[name][-1] - _percentile(beside, percent))
    return {name: statistics.median(values) for name, values in figures.items()}


async def paced(port: int, data: bytes, count: int) -> dict[str, Any]:
    """Paced streams, begun over a while and read to their end."""
    loop = asyncio.get_running_loop()
    seen, streams, begun = Seen(), list[Stream](), loop.time()
    # At moments that have nothing to do with each other, as clients come, and the same for every proxy.
    chance = random.Random(1)
    for moment in sorted(chance.uniform(0, SPREAD) for _ in range(count)):
        await asyncio.sleep(max(begun + moment - loop.time(), 0))
        _, stream = await loop.create_connection(lambda: Stream(data, seen), "127.0.0.1", port)
        streams.append(stream)
    ended = await asyncio.wait_for(asyncio.gather(*(stream.over for stream in streams)), 120)
    return {
        "chunks": len(seen.ages),
        "rate": len(seen.ages) / (loop.time() - begun),
        "failed": ended.count(False),
        "alone": seen.alone / len(seen.ages),
        "p50": _percentile(seen.ages, 50) / 1e9,
        "p99": _percentile(seen.ages, 99) / 1e9,
        "first_p50": _percentile(seen.firsts, 50) / 1e9,
        "first_p99": _percentile(seen.firsts, 99) / 1e9,
    }


async def idle(port: int, data: bytes, count: int) -> dict[str, Any]:
    """Streams that have begun, held open until nobody listens to standard output any more."""
    loop = asyncio.get_running_loop()
    seen, streams = Seen(), list[Stream]()
    for _ in range(count):
        _, stream = await loop.create_connection(lambda: Stream(data, seen), "127.0.0.1", port)
        streams.append(stream)
    if not all(await asyncio.wait_for(asyncio.gather(*(stream.begun for stream in streams)), 60)):
        raise SystemExit("a stream did not begin")
    print(json.dumps({"streams": count}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    return {}


def _percentile(values: list[Any], percent: int) -> float:
    if not values:
        return 0.0
    return float(sorted(values)[min(len(values) * percent // 100, len(values) - 1)])


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="load", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("kind", choices=["rate", "paced", "idle"])
    parser.add_argument("model")
    parser.add_argument("count", type=int)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--beside", type=int, default=0)
    parser.add_argument("--header", action="append", default=[])
    called = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    data = request(called.model, called.header, stream=called.kind != "rate")
    match called.kind:
        case "rate":
            told = rate((called.port, called.beside), data, called.count, called.rate, called.seconds)
        case "paced":
            told = uvloop.run(paced(called.port, data, called.count))
        case _:
            told = uvloop.run(idle(called.port, data, called.count))
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
