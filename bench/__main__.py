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

_DIRECT = "`direct` is the load on the upstream without a proxy; its CPU time is the upstream's."
_AWAKE = " The cores are kept from halting."


def main() -> None:
    """Measure, and print the tables."""
    arguments = _parser().parse_args()
    names = dict.fromkeys([*arguments.proxies, *(PEERS if arguments.peers else [])])
    proxies = [{**PROXIES, **PEERS}[name] for name in names]
    bridges = [bridge(path) for path in arguments.python]
    plain = [plain_aiohttp(path) for path in arguments.python]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {OTHER_CORE})
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        command = [sys.executable, str(HERE / "upstream.py"), str(port)]
        with awake() as kept, running(command, port, OTHER_CORE, folder / "upstream.log") as upstream:
            measured = _measure(arguments, [*proxies, *plain, *bridges], upstream, folder)
    print(f"{machine(arguments.python)}\n\nRounds: {arguments.rounds}. {_DIRECT}{_AWAKE if kept else ''}")
    for case in arguments.cases:
        print(table(case, measured[case], NOTES[case]))
    print(aims(measured, ["bridge", *(proxy.name for proxy in bridges)]))


def _measure(
    arguments: argparse.Namespace, proxies: list[Proxy], upstream: Process, folder: Path
) -> dict[str, Rounds]:
    """Return the figures of all rounds. A disturbance of the machine then affects all proxies alike."""
    measured: dict[str, Rounds] = defaultdict(lambda: defaultdict(list))
    for turn in range(arguments.rounds):
        for number, proxy in enumerate(proxies):
            with started(proxy, upstream, folder / f"{number}-{turn}") as instance:
                for case in arguments.cases:
                    for label, form in _rows(proxy, case):
                        figures = measured[case][label]
                        if case not in proxy.skips:
                            figures.append(CASES[case](instance, form))
                            print(f"{turn + 1}/{arguments.rounds} {label} {case}", file=sys.stderr)
    return measured


def _rows(proxy: Proxy, case: str) -> Iterator[tuple[str, str]]:
    """Yield the labels of a proxy in a case's table, each with the format of the upstream."""
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
        help="another interpreter for one more bridge; of an equal version it takes the packages of this one",
    )
    return parser


if __name__ == "__main__":
    main()
