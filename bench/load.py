"""Loads that wrk cannot make: steady rates, paced streams, idle streams. Prints one line of JSON.

python -m bench.load PORT KIND MODEL COUNT [--rate RATE --seconds SECONDS --beside PORT] [--header LINE …]

    rate       non-streaming responses on COUNT connections, RATE a second, in turns with the port BESIDE
    first      the first tokens of streams, at a rate as before
    capacity   non-streaming responses at parts of RATE: the highest rate within each limit of p99
    paced      COUNT streams, each read to its end
    idle       COUNT streams that only begin, until standard input ends
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

from bench.steady import delays

__all__ = ["LIMITS"]

LIMITS = (1e-3, 5e-3, 10e-3)  # seconds that p99 may take
SPREAD = 1.5  # seconds in which paced streams begin; each lasts twice as long, so all are open for a while
_TURN = 0.25  # seconds
_TURN_RESPONSES = 100  # at least
_STEPS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of the highest rate
_STEP_TURNS = 3  # their median counts
_SENT = re.compile(rb"t(\d{19})e")
_PART = 20  # bytes: at most, of a text of which the rest has not arrived
_CLOCK = time.monotonic_ns


def request(model: str, headers: list[str], *, stream: bool) -> bytes:
    """Return the bytes of one request."""
    document = {
        "model": model,
        "messages": [{"role": "user", "content": "Name a colour of the sea."}],
        "max_tokens": 64,
        "temperature": 0.2,
        "stream": stream,
    }
    body = json.dumps(document).encode()
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "Host: bench",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Arrivals:
    """Arrivals of texts on all streams."""

    def __init__(self) -> None:
        self.ages: list[int] = []  # nanoseconds from the upstream's write of a text to its arrival
        self.firsts: list[int] = []  # nanoseconds from a request to its first text
        self.alone = 0  # texts that arrived without another


class Stream(asyncio.Protocol):
    """One stream."""

    def __init__(self, data: bytes, arrivals: Arrivals) -> None:
        self._data = data
        self._arrivals = arrivals
        self._sent = 0
        self._rest = b""
        self.begun: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sent = _CLOCK()
        self._transport.write(self._data)

    def data_received(self, data: bytes) -> None:
        now = _CLOCK()
        # The network may cut a text in two, so what may be the beginning of one is kept.
        text, end, count = self._rest + data, 0, 0
        for match in _SENT.finditer(text):
            self._arrivals.ages.append(now - int(match[1]))
            end, count = match.end(), count + 1
        self._arrivals.alone += count == 1
        if count and not self.begun.done():
            self._arrivals.firsts.append(now - self._sent)
            self.begun.set_result(True)
        self._rest = text[max(end, len(text) - _PART) :]
        if text.endswith(b"0\r\n\r\n") and not self.over.done():
            self.over.set_result(True)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.begun, self.over):
            if not future.done():
                future.set_result(False)


def rate(called: argparse.Namespace, data: bytes, *, first: bool = False) -> dict[str, Any]:
    """Return percentiles of the delay at a steady rate, and of what the proxy adds: medians of the turns.

    A disturbance of the machine affects some turns, a property of the proxy affects all.
    """
    figures: dict[str, list[float]] = {"p50": [], "p99": [], "added_p50": [], "added_p99": []}
    turn = max(_TURN, _TURN_RESPONSES / called.rate)
    for _ in range(round(called.seconds / turn) or 1):
        proxied, direct = (
            delays(port, data, called.count, called.rate, turn, first=first)
            for port in (called.port, called.beside)
        )
        for name, percent in (("p50", 50), ("p99", 99)):
            figures[name].append(_percentile(proxied, percent))
            figures[f"added_{name}"].append(figures[name][-1] - _percentile(direct, percent))
    return {name: statistics.median(values) for name, values in figures.items()}


def capacity(called: argparse.Namespace, data: bytes) -> dict[str, Any]:
    """Return the highest rate at which p99 stays within each limit, or 0."""
    highest = {f"within_{limit * 1e3:g}": 0.0 for limit in LIMITS}
    for step in _STEPS:
        per_second = called.rate * step
        turn = max(_TURN, _TURN_RESPONSES / per_second)
        p99 = statistics.median(
            _percentile(delays(called.port, data, called.count, per_second, turn), 99)
            for _ in range(_STEP_TURNS)
        )
        highest.update({f"within_{limit * 1e3:g}": per_second for limit in LIMITS if p99 <= limit})
    return highest


async def paced(port: int, data: bytes, count: int) -> dict[str, Any]:
    """Read paced streams, begun over a while, to their end."""
    loop = asyncio.get_running_loop()
    arrivals, streams, began = Arrivals(), list[Stream](), loop.time()
    # Independent moments, as those of clients, and the same ones for every proxy.
    chance = random.Random(1)
    for moment in sorted(chance.uniform(0, SPREAD) for _ in range(count)):
        await asyncio.sleep(max(began + moment - loop.time(), 0))
        _, stream = await loop.create_connection(lambda: Stream(data, arrivals), "127.0.0.1", port)
        streams.append(stream)
    ended = await asyncio.wait_for(asyncio.gather(*(stream.over for stream in streams)), 120)
    return {
        "chunks": len(arrivals.ages),
        "rate": len(arrivals.ages) / (loop.time() - began),
        "failed": ended.count(False),
        "alone": arrivals.alone / len(arrivals.ages),
        "p50": _percentile(arrivals.ages, 50) / 1e9,
        "p99": _percentile(arrivals.ages, 99) / 1e9,
        "first_p50": _percentile(arrivals.firsts, 50) / 1e9,
        "first_p99": _percentile(arrivals.firsts, 99) / 1e9,
    }


async def idle(port: int, data: bytes, count: int) -> dict[str, Any]:
    """Hold streams that have begun open until standard input ends."""
    loop = asyncio.get_running_loop()
    arrivals, streams = Arrivals(), list[Stream]()
    for _ in range(count):
        _, stream = await loop.create_connection(lambda: Stream(data, arrivals), "127.0.0.1", port)
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
    """Make the load that the command line describes."""
    parser = argparse.ArgumentParser(prog="load", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("kind", choices=["rate", "first", "capacity", "paced", "idle"])
    parser.add_argument("model")
    parser.add_argument("count", type=int)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--beside", type=int, default=0)
    parser.add_argument("--header", action="append", default=[])
    called = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    data = request(called.model, called.header, stream=called.kind in ("first", "paced", "idle"))
    match called.kind:
        case "rate" | "first":
            report = rate(called, data, first=called.kind == "first")
        case "capacity":
            report = capacity(called, data)
        case "paced":
            report = uvloop.run(paced(called.port, data, called.count))
        case _:
            report = uvloop.run(idle(called.port, data, called.count))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
