"""`make bench`: every case on every proxy, in turns, and the medians as tables."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.aims import aims
from bench.cases import CASES, NOTES
from bench.machine import machine
from bench.peers import PEERS
from bench.processes import OTHER_CORE, awake, free_port, running
from bench.proxies import HERE, PROXIES, bridge, plain_aiohttp, started
from bench.tables import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.processes import Process
    from bench.proxies import Proxy
    from bench.tables import Rounds

_DIRECT = "`direct` is without a proxy: what load and upstream take; its CPU is the upstream's own."
_AWAKE = " The cores are kept from halting while they wait."


def main() -> None:
    """Measure, and print the tables."""
    called = _parser().parse_args()
    names = dict.fromkeys([*called.proxies, *(PEERS if called.peers else [])])
    proxies = [{**PROXIES, **PEERS}[name] for name in names]
    bridges = [bridge(path) for path in called.python]
    others = [plain_aiohttp(path) for path in called.python]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {OTHER_CORE})
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        command = [sys.executable, str(HERE / "upstream.py"), str(port)]
        with awake() as kept, running(command, port, OTHER_CORE, folder / "upstream.log") as upstream:
            measured = _measure(called, [*proxies, *others, *bridges], upstream, folder)
    print(f"{machine(called.python)}\n\nRounds: {called.rounds}. {_DIRECT}{_AWAKE if kept else ''}")
    for case in called.cases:
        print(table(case, measured[case], NOTES[case]))
    print(aims(measured, ["bridge", *(one.name for one in bridges)]))


def _measure(
    called: argparse.Namespace, proxies: list[Proxy], upstream: Process, folder: Path
) -> dict[str, Rounds]:
    """Rounds of all proxies, so that what the machine does meanwhile meets them all alike."""
    measured: dict[str, Rounds] = defaultdict(lambda: defaultdict(list))
    for turn in range(called.rounds):
        for number, proxy in enumerate(proxies):
            with started(proxy, upstream, folder / f"{number}-{turn}") as one:
                for case in called.cases:
                    for label, form in _rows(proxy, case):
                        taken = measured[case][label]
                        if case not in proxy.skips:
                            taken.append(CASES[case](one, form))
                            print(f"{turn + 1}/{called.rounds} {label} {case}", file=sys.stderr)
    return measured


def _rows(proxy: Proxy, case: str) -> Iterator[tuple[str, str]]:
    """The labels of a proxy in a case's table, and what its upstream speaks in each."""
    if case == "image" and proxy.images is not None:
        yield f"{proxy.name}, {proxy.images}", proxy.images
        return
    yield proxy.name, proxy.form
    if case == "burst":
        for form in proxy.besides:
            yield f"{proxy.name}, {form}", form


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--proxies", nargs="+", default=list(PROXIES), choices=[*PROXIES, *PEERS])
    parser.add_argument("--peers", action="store_true", help=f"also {' and '.join(PEERS)}")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PATH",
        help="one more bridge, run by this interpreter: with the packages of this one if it is as new",
    )
    return parser


if __name__ == "__main__":
    main()
