"""The soak test: a bridge with two workers before 10,000 clients, for five minutes.

python -m bench.soak [--clients 10000] [--seconds 300]

Exit code 1 if a stream is not whole, a fault brings no error, memory grows, or something is left at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from bench.processes import Process, free_port, running

HERE = Path(__file__).parent
_ROUTES = """
server: {{workers: 2, limits: {{connections: {connections}}}}}
routes:
  - models: "soak-*"
    name: soak
    upstream: {{url: "http://127.0.0.1:{upstream}/chat", timeouts: {{idle: 5s}}}}
    request: {{body: {{model: $.model, q: $.last}}}}
    response: $.text
    stream: {{text: $.text, framing: sse}}
"""
_INTERVAL = 5.0  # seconds between two samples of memory; each second one reloads, each scrapes
_MAX_GROWTH = 1.05  # of the median of the last third of samples against the second third


def main() -> int:
    """Run the test and print its results."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=300)
    called = parser.parse_args()
    # A worker has two for each of its streams, of which one worker may have more than its half.
    _raise_descriptors(3 * called.clients // 2 + 1000)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        upstream, front, admin = free_port(), free_port(), free_port()
        file = folder / "routes.yaml"
        file.write_text(_ROUTES.format(upstream=upstream, connections=called.clients + 500))
        stack.enter_context(_started(folder / "upstream", "bench.soak.upstream", upstream))
        time.sleep(1)
        command = [
            sys.executable, str(HERE.parents[1] / "bridge.py"), "serve", str(file),
            "--listen", f"127.0.0.1:{front}", "--admin", f"127.0.0.1:{admin}",
        ]  # fmt: skip
        bridge = stack.enter_context(running(command, front, None, folder / "bridge"))
        load = stack.enter_context(
            _started(folder / "load", "bench.soak.load", front, called.clients, called.seconds)
        )
        samples = _watch(bridge, admin, load)
        results = json.loads((folder / "load").read_text().splitlines()[-1])
        return _report(results, samples, _metrics(admin))


def _raise_descriptors(wanted: int) -> None:
    """Raise the limit of descriptors, the hard one as well where the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, hard), max(wanted, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard < wanted:
            raise SystemExit(f"{hard} descriptors are permitted: expected {wanted}; ulimit -Hn") from None


def _started(log: Path, module: str, *arguments: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with log.open("wb") as out:
        return _Child(command, stdout=out, stderr=out)


class _Child(subprocess.Popen[bytes]):
    """A process that is killed at the end of its block."""

    def __exit__(self, *exception: object) -> None:
        self.kill()
        self.wait()


def _watch(bridge: Process, admin: int, load: subprocess.Popen[bytes]) -> list[float]:
    """Return samples of resident memory in MB until the load ends; scrape and reload meanwhile."""
    samples: list[float] = []
    while load.poll() is None:
        time.sleep(_INTERVAL)
        samples.append(bridge.resident() / 1e6)
        open_streams = _metrics(admin)["bridge_requests_in_progress"]
        print(f"{samples[-1]:.0f} MB, {open_streams:.0f} in progress", file=sys.stderr)
        if len(samples) % 2:
            os.kill(bridge.pid, signal.SIGHUP)
    return samples


def _metrics(admin: int) -> dict[str, float]:
    """Return the sums of the metrics by their names."""
    sums: dict[str, float] = {}
    with urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=30) as response:
        for line in response.read().decode().splitlines():
            if not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                name = series.partition("{")[0]
                sums[name] = sums.get(name, 0.0) + float(value)
    return sums


def _report(results: dict[str, Any], samples: list[float], metrics: dict[str, float]) -> int:
    third = len(samples) // 3
    middle, last = (_median(part) for part in (samples[third : 2 * third], samples[2 * third : -third // 2]))
    left = metrics["bridge_requests_in_progress"]
    print(json.dumps({**results, "MB": {"middle": middle, "last": last}, "in progress": left}))
    broken = [end for end, count in results["ends"].items() if count and end[:2].isupper()]
    return 1 if broken or left or last > middle * _MAX_GROWTH else 0


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    sys.exit(main())
