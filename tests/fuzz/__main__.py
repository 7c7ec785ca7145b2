"""`make fuzz`: atheris tries to find data that a target does not pass.

    python -m tests.fuzz --seconds 60              all targets, a minute in all
    python -m tests.fuzz --seconds 60 responses    one target

Data that found a fault is written to tests/fuzz/cases/TARGET/, where it stays as a test.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = Path(__file__).parent / "cases"
MAX_LENGTH = 2_000  # bytes
TIMEOUT = 20  # seconds for one piece of data
MAX_MEMORY = 2_048  # MiB


def main() -> None:
    """Run the targets one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60, help="the time for all targets together")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help="the targets; all, if there are none")
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.targets[0], arguments.seconds)
        return
    from tests.fuzz.targets import TARGETS

    names = arguments.targets or list(TARGETS)
    seconds = str(max(arguments.seconds // len(names), 1))
    command = [sys.executable, "-m", "tests.fuzz", "--run", "--seconds", seconds]
    failed = [name for name in names if subprocess.run([*command, name], check=False).returncode]
    sys.exit(f"faults: {', '.join(failed)}; the data is in {CASES}" if failed else 0)


def run(name: str, seconds: int) -> None:
    """Fuzz one target in this process."""
    import atheris

    with atheris.instrument_imports(include=["bridge"]):
        from tests.fuzz.seeds import SEEDS
        from tests.fuzz.targets import TARGETS

    folder = CASES / name
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            (Path(corpus) / str(number)).write_bytes(seed)
        options = {
            "max_total_time": seconds,
            "max_len": MAX_LENGTH,
            "timeout": TIMEOUT,
            "rss_limit_mb": MAX_MEMORY,
            "artifact_prefix": f"{folder}/",
            "verbosity": 1,
            "print_final_stats": 1,
        }
        flags = [f"-{option}={value}" for option, value in options.items()]
        atheris.Setup([name, *flags, corpus], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
