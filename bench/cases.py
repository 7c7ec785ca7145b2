"""What is measured of each proxy. Every case gives figures by name; times are in seconds, sizes in bytes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from bench.processes import OTHER_CORE
from bench.proxies import HERE
from bench.upstream import PACED

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.proxies import Running

__all__ = ["CASES", "NOTES", "PACED_CASES", "Figures"]

Figures = dict[str, float]

STARTS = 5
STARTS_END = 10.0  # seconds
IDLE = 5000
_PINNED = ["taskset", "-c", str(OTHER_CORE)]


def _wrk(
    proxy: Running, model: str, *, stream: bool = False, image: int = 0, connections: int = 32
) -> Figures:
    """What wrk says of one request over and over, and what it cost."""
    called = ["wrk", "-t1", f"-c{connections}", f"-d{proxy.seconds}s", "--timeout", "30s", "--latency"]
    called += [part for line in proxy.headers for part in ("-H", line)]
    called += ["-s", str(HERE / "post.lua"), f"http://127.0.0.1:{proxy.process.port}/v1/chat/completions"]
    before = proxy.process.cpu()
    out = subprocess.run(
        [*_PINNED, *called, model, str(stream).lower(), str(image)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    cpu = proxy.process.cpu() - before
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    if told["failed"] or not told["answers"]:
        raise SystemExit(f"{model}: {told}\n{out}")
    return {
        "cpu": cpu / told["answers"],
        "rate": told["answers"] / told["seconds"],
        "p50": told["p50"],
        "p99": told["p99"],
    }


def _load(proxy: Running, port: int, *arguments: object) -> subprocess.Popen[str]:
    called = [*_PINNED, sys.executable, "-m", "bench.load", str(port), *map(str, arguments)]
    called += [f"--header={line}" for line in proxy.headers]
    return subprocess.Popen(called, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)


def _told(load: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = load.communicate(timeout=150)
    if load.returncode:
        raise SystemExit(f"{load.args!r} failed")
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    return told


def start(proxy: Running, _: str) -> Figures:
    """From its command to its first answer, whatever that is."""
    taken: list[tuple[float, float]] = []
    begun = time.monotonic()
    # One that takes long is not started that often.
    while not taken or (len(taken) < STARTS and time.monotonic() - begun < STARTS_END):
        with proxy.another() as one:
            taken.append((one.process.ready, one.process.ready_cpu))
    ready, cpu = (statistics.median(figures) for figures in zip(*taken, strict=True))
    return {"ready": ready, "ready_cpu": cpu}


def whole(proxy: Running, form: str) -> Figures:
    """Whole answers as fast as they come, 32 connections; and what the proxy holds after them."""
    return {**_wrk(proxy, f"{form}-whole"), "resident": float(proxy.process.resident())}


def half(proxy: Running, form: str) -> Figures:
    """Whole answers at half the rate that the proxy can do at most: what it adds to the upstream."""
    most = _wrk(proxy, f"{form}-whole")["rate"]
    steady = (f"--rate={most / 2}", f"--seconds={proxy.seconds * 2}", f"--beside={proxy.upstream}")
    load = _load(proxy, proxy.process.port, "rate", f"{form}-whole", 32, *steady)
    return {"rate": most / 2, **_told(load)}


def burst(proxy: Running, form: str) -> Figures:
    """Streams of 100 chunks as fast as they come."""
    return _wrk(proxy, f"{form}-burst", stream=True)


def image(proxy: Running, form: str) -> Figures:
    """Whole answers to bodies of 1 MB, most of which is an image."""
    return _wrk(proxy, f"{form}-whole", image=1_000_000, connections=4)


def _paced(count: int) -> Callable[[Running, str], Figures]:
    def measure(proxy: Running, form: str) -> Figures:
        before = proxy.process.cpu()
        told = _told(_load(proxy, proxy.process.port, "paced", f"{form}-paced", count))
        cpu = proxy.process.cpu() - before
        if told["failed"] or told["chunks"] != count * PACED:
            raise SystemExit(f"{form}: {told}")
        names = ("rate", "alone", "first_p50", "first_p99", "p50", "p99")
        return {"cpu": cpu / told["chunks"], **{name: told[name] for name in names}}

    return measure


def idle(proxy: Running, form: str) -> Figures:
    """Memory for each of many streams that idle."""
    # A new one, whose memory no other case has left free; and no other case meets the end of so many streams.
    with proxy.another() as one:
        before = one.process.resident()
        load = _load(one, one.process.port, "idle", f"{form}-idle", IDLE)
        assert load.stdout is not None
        if not load.stdout.readline():
            raise SystemExit(f"{form}: no {IDLE} idle streams")
        time.sleep(0.5)
        after = one.process.resident()
        load.communicate(timeout=30)
    return {"each": (after - before) / IDLE, "resident": float(before)}


PACED_CASES = {f"paced {count}": _paced(count) for count in (200, 1000)}

CASES: dict[str, Callable[[Running, str], Figures]] = {
    "start": start,
    "idle": idle,
    "whole": whole,
    "half": half,
    "burst": burst,
    **PACED_CASES,
    "image": image,
}

NOTES = {
    "start": f"From the command to the first answer, the median of {STARTS}, or of fewer if they are long. "
    "Python's bytecode, which a first start leaves behind, is there.",
    "idle": f"{IDLE:,} open streams that have had a chunk: memory for each, and before them.",
    "whole": "Whole answers, 32 connections, as fast as they come. Memory is that after them.",
    "half": "Whole answers at half the rate that each proxy can do at most, 32 connections: a quarter of a "
    "second through the proxy, as long without it, and again; the medians of these turns. Added is what the "
    "proxy's take longer.",
    "burst": "Streams of 100 chunks, 32 connections, as fast as they come.",
    "paced 200": "200 streams, begun over 1.5 s and as long open together, with a chunk every 20 ms: CPU for "
    "each chunk; chunks a second, 6,680 if nobody is late; how many came alone; from the request to the "
    "first, which the upstream sends at once; from the writing of a chunk by the upstream to its arrival.",
    "paced 1000": "1,000 streams, else the same: 33,400 chunks a second if nobody is late.",
    "image": "Whole answers to bodies of 1 MB with an image in them, 4 connections. The custom format has no "
    "place for images: nginx with Lua leaves them out; the bridge refuses, and so passes OpenAI's on.",
}
