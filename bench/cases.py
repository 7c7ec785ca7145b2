"""What is measured of each proxy. Every case gives figures by name; times are in seconds, sizes in bytes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from bench.proxies import HERE, OTHER_CORE
from bench.upstream import CHUNKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.proxies import Running

__all__ = ["CASES", "IDLE", "Figures"]

Figures = dict[str, float]

SECONDS = 3
IDLE = 5000
_PINNED = ["taskset", "-c", str(OTHER_CORE)]


def _wrk(
    proxy: Running, model: str, *, stream: bool = False, size: int = 24, connections: int = 32
) -> Figures:
    """What wrk says of one request over and over, and what it cost."""
    url = f"http://127.0.0.1:{proxy.port}/v1/chat/completions"
    called = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{SECONDS}s",
        "--latency",
        "-s",
        str(HERE / "post.lua"),
        url,
    ]
    before = proxy.cpu()
    out = subprocess.run(
        [*_PINNED, *called, model, str(stream).lower(), str(size)], check=True, capture_output=True, text=True
    ).stdout
    cpu = proxy.cpu() - before
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    if told["failed"] or not told["answers"]:
        raise SystemExit(f"{model}: {told}\n{out}")
    return {
        "cpu": cpu / told["answers"],
        "rate": told["answers"] / told["seconds"],
        "p50": told["p50"],
        "p99": told["p99"],
    }


def _load(proxy: Running, *arguments: object) -> subprocess.Popen[str]:
    called = [*_PINNED, sys.executable, "-m", "bench.load", str(proxy.port), *map(str, arguments)]
    return subprocess.Popen(called, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)


def _told(load: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = load.communicate(timeout=90)
    if load.returncode:
        raise SystemExit(f"{load.args!r} failed")
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    return told


def whole(proxy: Running, form: str) -> Figures:
    """Whole answers as fast as they come, 32 connections."""
    return _wrk(proxy, f"{form}-whole")


def half(proxy: Running, form: str) -> Figures:
    """Whole answers at half the rate that the proxy can do at most: what it adds then."""
    most = _wrk(proxy, f"{form}-whole")["rate"]
    told = _told(_load(proxy, "rate", f"{form}-whole", 32, most / 2, SECONDS))
    return {"p50": told["p50"], "p99": told["p99"]}


def burst(proxy: Running, form: str) -> Figures:
    """Streams of 100 chunks as fast as they come."""
    return _wrk(proxy, f"{form}-burst", stream=True)


def image(proxy: Running, form: str) -> Figures:
    """Whole answers to bodies of 1 MB."""
    return _wrk(proxy, f"{form}-whole", size=1_000_000, connections=4)


def _paced(count: int) -> Callable[[Running, str], Figures]:
    def measure(proxy: Running, form: str) -> Figures:
        before = proxy.cpu()
        told = _told(_load(proxy, "paced", f"{form}-paced", count))
        cpu = proxy.cpu() - before
        if told["failed"] or told["chunks"] != count * CHUNKS:
            raise SystemExit(f"{form}: {told}")
        names = ("p50", "p99", "first_p50", "first_p99")
        return {"cpu": cpu / told["chunks"], **{name: told[name] for name in names}}

    return measure


def idle(proxy: Running, form: str) -> Figures:
    """Memory for each of many streams that idle."""
    before = proxy.resident()
    load = _load(proxy, "idle", f"{form}-idle", IDLE)
    assert load.stdout is not None
    if not load.stdout.readline():
        raise SystemExit(f"{form}: no {IDLE} idle streams")
    time.sleep(0.5)
    after = proxy.resident()
    load.communicate(timeout=30)
    return {"each": (after - before) / IDLE, "resident": float(before)}


CASES: dict[str, Callable[[Running, str], Figures]] = {
    "whole": whole,
    "half": half,
    "burst": burst,
    "paced 200": _paced(200),
    "paced 1000": _paced(1000),
    "idle": idle,
    "image": image,
}
