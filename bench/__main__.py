"""`make bench`: every case on every proxy, in turns, and the medians as tables."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cases import CASES
from bench.proxies import HERE, OTHER_CORE, PROXIES, free_port, running, started

if TYPE_CHECKING:
    from bench.cases import Figures

FRAMINGS = ("openai", "sse", "ndjson", "nul", "cumulative")


def main() -> None:
    """Measure, and print the tables."""
    called = _parser().parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {OTHER_CORE})
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        command = [sys.executable, str(HERE / "upstream.py"), str(port)]
        with running(command, port, OTHER_CORE, folder / "upstream.log"):
            measured = _measure(called, port, folder)
    print(_machine())
    for case in called.cases:
        print(_table(case, measured[case]))


def _measure(called: argparse.Namespace, port: int, folder: Path) -> dict[str, dict[str, list[Figures]]]:
    """Rounds of all proxies, so that what the machine does meanwhile meets them all alike."""
    measured: dict[str, dict[str, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    for turn in range(called.rounds):
        for proxy in (PROXIES[name] for name in called.proxies):
            with started(proxy, port, folder / f"{proxy.name}-{turn}") as one:
                forms = ("sse",) if proxy.translates else ("openai",)
                for case in called.cases:
                    for form in FRAMINGS if case == "burst" and proxy.name == "bridge" else forms:
                        label = proxy.name if form in forms else f"{proxy.name}, {form}"
                        measured[case][label].append(CASES[case](one, form))
                        print(f"{turn + 1}/{called.rounds} {label} {case}", file=sys.stderr)
    return measured


def _table(case: str, rows: dict[str, list[Figures]]) -> str:
    names = list(next(iter(rows.values()))[0])
    lines = [
        f"\n### {case}\n",
        f"| | {' | '.join(_TITLES[name] for name in names)} |",
        "| --- " * (len(names) + 1) + "|",
    ]
    for label, rounds in rows.items():
        medians = [_shown(name, statistics.median(one[name] for one in rounds)) for name in names]
        lines.append(f"| {label} | {' | '.join(medians)} |")
    return "\n".join(lines)


def _shown(name: str, value: float) -> str:
    match name:
        case "rate":
            return f"{value:,.0f}"
        case "cpu":
            return f"{value * 1e6:.1f}"
        case "each":
            return f"{value / 1024:.1f}"
        case "resident":
            return f"{value / 2**20:.0f}"
        case _:
            return f"{value * 1e3:.2f}"


_TITLES = {
    "cpu": "CPU, µs each", "rate": "a second", "p50": "p50, ms", "p99": "p99, ms",
    "first_p50": "first, p50, ms", "first_p99": "first, p99, ms",
    "each": "KiB each", "resident": "resident before, MiB",
}  # fmt: skip


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown processor",
    )
    nginx = subprocess.run(["nginx", "-v"], check=False, capture_output=True, text=True).stderr.strip()
    haproxy = subprocess.run(["haproxy", "-v"], check=False, capture_output=True, text=True).stdout.split(
        " - "
    )[0]
    parts = [f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "orjson")]
    return (
        f"{os.cpu_count()} × {model}; Linux {platform.release()}; Python {platform.python_version()}, "
        f"{', '.join(parts)}; {nginx.removeprefix('nginx version: ')}; {haproxy.strip()}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--proxies", nargs="+", default=list(PROXIES), choices=PROXIES)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    return parser


if __name__ == "__main__":
    main()
