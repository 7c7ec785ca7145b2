"""The cases that are measured on each proxy. A case returns figures by name, in seconds and bytes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from bench.load import LIMITS
from bench.processes import OTHER_CORE
from bench.proxies import HERE
from bench.upstream import PACED

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.proxies import Instance

__all__ = ["CASES", "NOTES", "PACED_CASES", "Figures"]

Figures = dict[str, float]

STARTS = 5
STARTS_LIMIT = 10.0  # seconds, after which no further start begins
IDLE = 5000  # streams
SOAK = 20  # seconds
SAMPLE = 0.25  # seconds between two readings of memory
_PINNED = ["taskset", "-c", str(OTHER_CORE)]


def _wrk_command(
    proxy: Instance,
    model: str,
    *,
    stream: bool = False,
    image: int = 0,
    connections: int = 32,
    seconds: int = 0,
) -> list[str]:
    duration = f"-d{seconds or proxy.proxy.seconds}s"
    command = [*_PINNED, "wrk", "-t1", f"-c{connections}", duration, "--timeout", "30s", "--latency"]
    command += [part for line in proxy.headers for part in ("-H", line)]
    url = f"http://127.0.0.1:{proxy.process.port}/v1/chat/completions"
    return [*command, "-s", str(HERE / "post.lua"), url, model, str(stream).lower(), str(image)]


def _wrk_report(model: str, output: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(output.splitlines()[-1])
    if report["failed"] or not report["responses"]:
        raise SystemExit(f"{model}: {report}\n{output}")
    return report


def _wrk(proxy: Instance, model: str, **options: Any) -> Figures:
    """Send one request over and over with wrk; return its latencies, and the CPU time of a request."""
    before = proxy.process.cpu()
    command = _wrk_command(proxy, model, **options)
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    cpu = proxy.process.cpu() - before
    report = _wrk_report(model, output)
    return {
        "cpu": cpu / report["responses"],
        "rate": report["responses"] / report["seconds"],
        "p50": report["p50"],
        "p99": report["p99"],
    }


def _load(proxy: Instance, *arguments: object) -> subprocess.Popen[str]:
    command = [*_PINNED, sys.executable, "-m", "bench.load", str(proxy.process.port), *map(str, arguments)]
    command += [f"--header={line}" for line in proxy.headers]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    )


def _report(load: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = load.communicate(timeout=300)
    if load.returncode:
        raise SystemExit(f"{load.args!r} failed")
    report: dict[str, Any] = json.loads(output.splitlines()[-1])
    return report


def start(proxy: Instance, _: str) -> Figures:
    """Measure from the command to the first response, whatever its status."""
    starts: list[tuple[float, float]] = []
    began = time.monotonic()
    while not starts or (len(starts) < STARTS and time.monotonic() - began < STARTS_LIMIT):
        with proxy.another() as fresh:
            starts.append((fresh.process.ready, fresh.process.ready_cpu))
    ready, cpu = (statistics.median(figures) for figures in zip(*starts, strict=True))
    return {"ready": ready, "ready_cpu": cpu}


def whole(proxy: Instance, form: str) -> Figures:
    """Measure non-streaming responses at full speed, and the memory after them."""
    return {**_wrk(proxy, f"{form}-whole"), "resident": float(proxy.process.resident())}


def half(proxy: Instance, form: str) -> Figures:
    """Measure the added time of non-streaming responses at half of the proxy's highest rate."""
    rate = _wrk(proxy, f"{form}-whole")["rate"] / 2
    options = (f"--rate={rate}", f"--seconds={proxy.proxy.seconds * 2}", f"--beside={proxy.upstream}")
    return {"rate": rate, **_report(_load(proxy, "rate", f"{form}-whole", 32, *options))}


def capacity(proxy: Instance, form: str) -> Figures:
    """Measure the highest steady rates of non-streaming responses that keep p99 within limits."""
    rate = _wrk(proxy, f"{form}-whole")["rate"]
    return _report(_load(proxy, "capacity", f"{form}-whole", 32, f"--rate={rate}"))


def memory(proxy: Instance, form: str) -> Figures:
    """Measure memory under a constant load: the level it reaches, and its growth from there."""
    model = f"{form}-whole"
    with proxy.another() as fresh:
        command = _wrk_command(fresh, model, seconds=SOAK)
        load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        times, sizes = [time.monotonic()], [fresh.process.resident()]
        while load.poll() is None:
            time.sleep(SAMPLE)
            times.append(time.monotonic())
            sizes.append(fresh.process.resident())
        _wrk_report(model, load.communicate()[0])
    middle = len(times) // 2
    growth = statistics.linear_regression(times[middle:], sizes[middle:]).slope * 60
    return {"before": float(sizes[0]), "plateau": statistics.median(sizes[middle:]), "growth": growth}


def burst(proxy: Instance, form: str) -> Figures:
    """Measure streams of 100 chunks at full speed."""
    return _wrk(proxy, f"{form}-burst", stream=True)


def image(proxy: Instance, form: str) -> Figures:
    """Measure non-streaming responses to bodies of 1 MB, most of which is an image."""
    return _wrk(proxy, f"{form}-whole", image=1_000_000, connections=4)


def first(proxy: Instance, form: str) -> Figures:
    """Measure the added time to the first token of streams at a low rate."""
    rate = proxy.proxy.streams
    options = (f"--rate={rate}", f"--seconds={proxy.proxy.seconds * 2}", f"--beside={proxy.upstream}")
    return {"rate": float(rate), **_report(_load(proxy, "first", f"{form}-short", 32, *options))}


def _paced(count: int) -> Callable[[Instance, str], Figures]:
    def measure(proxy: Instance, form: str) -> Figures:
        before = proxy.process.cpu()
        report = _report(_load(proxy, "paced", f"{form}-paced", count))
        cpu = proxy.process.cpu() - before
        if report["failed"] or report["chunks"] != count * PACED:
            raise SystemExit(f"{form}: {report}")
        names = ("rate", "alone", "first_p50", "first_p99", "p50", "p99")
        return {"cpu": cpu / report["chunks"], **{name: report[name] for name in names}}

    return measure


def idle(proxy: Instance, form: str) -> Figures:
    """Measure the memory of each of many idle streams."""
    # A new process has no free memory of other cases, and its ending streams disturb no other case.
    with proxy.another() as fresh:
        before = fresh.process.resident()
        load = _load(fresh, "idle", f"{form}-idle", IDLE)
        assert load.stdout is not None
        if not load.stdout.readline():
            raise SystemExit(f"{form}: fewer than {IDLE} idle streams")
        time.sleep(0.5)
        after = fresh.process.resident()
        load.communicate(timeout=30)
    return {"each": (after - before) / IDLE, "resident": float(before)}


PACED_CASES = {f"paced {count}": _paced(count) for count in (200, 1000)}

CASES: dict[str, Callable[[Instance, str], Figures]] = {
    "start": start,
    "idle": idle,
    "whole": whole,
    "half": half,
    "capacity": capacity,
    "memory": memory,
    "burst": burst,
    "first": first,
    **PACED_CASES,
    "image": image,
}

_LIMITS = ", ".join(f"{limit * 1e3:g}" for limit in LIMITS)

NOTES = {
    "start": f"From the command to the first response: the median of {STARTS} starts, or of fewer if they "
    "take long. Python's bytecode exists from an earlier start.",
    "idle": f"{IDLE:,} open streams after their first chunk: memory of each, and memory before them.",
    "whole": "Non-streaming responses on 32 connections at full speed. Memory is that after them.",
    "half": "Non-streaming responses at half of each proxy's highest rate, on 32 connections: a quarter of "
    "a second through the proxy, then as long without it, in turns. The figures are medians of the turns. "
    "Added time is the difference to the turn without the proxy.",
    "capacity": "Non-streaming responses on 32 connections at steady rates, mostly in steps of a tenth of "
    f"the highest: the highest rate at which p99 stays within {_LIMITS} ms. A response's time counts from "
    "the moment at which its request was due. The row of `direct` is the limit of the load itself.",
    "memory": f"Non-streaming responses on 32 connections at full speed for {SOAK} s: memory of a new "
    "process before them, its median in the second half, and its growth there.",
    "burst": "Streams of 100 chunks on 32 connections at full speed.",
    "first": "Streams of one chunk, which the upstream sends at once, at a low rate: from the moment at "
    "which the request was due to the first token. Added time is the difference to turns without the proxy.",
    "paced 200": "200 streams that begin within 1.5 s and last twice as long, with a chunk every 20 ms: CPU "
    "time of each chunk; chunks a second, 6,680 if none is late; the share that arrived alone; from the "
    "request to the first chunk, which the upstream sends at once; from the upstream's write of a chunk to "
    "its arrival.",
    "paced 1000": "1,000 streams, otherwise as before: 33,400 chunks a second if none is late.",
    "image": "Non-streaming responses to bodies of 1 MB that hold an image, on 4 connections. The custom "
    "format has no place for images: nginx with Lua drops them; the bridge rejects them, and passes "
    "OpenAI's through.",
}
