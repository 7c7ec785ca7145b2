"""The three ways to run the command from a checkout, and the message of one that cannot run."""

from __future__ import annotations

import subprocess
import sys
from shutil import copy
from typing import TYPE_CHECKING

import pytest

from bridge import __version__
from tests.bridge_process import ROOT

if TYPE_CHECKING:
    from pathlib import Path

VERSION = (0, f"format-bridge {__version__}\n", "")
# An interpreter that has no packages, as one of the machine may be: site packages are left out.
BARE = [getattr(sys, "_base_executable", sys.executable), "-S", "-E"]


def run(*command: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return the launcher in a folder of its own."""
    copy(ROOT / "bridge.py", tmp_path)
    return tmp_path / "bridge.py"


@pytest.mark.parametrize("call", [["bridge.py"], ["-m", "bridge"]])
def test_the_command_runs_with_the_packages_of_the_interpreter(call: list[str]) -> None:
    assert run(sys.executable, *call, "--version") == VERSION


def test_an_interpreter_without_packages_is_replaced_by_that_of_the_environment(checkout: Path) -> None:
    python = checkout.parent / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    assert run(*BARE, checkout, "check", "a file.yaml") == (0, f"{checkout} check a file.yaml\n", "")


def test_without_an_environment_one_line_tells_what_to_run(checkout: Path) -> None:
    code, out, errors = run(*BARE, checkout, "--version")
    assert (code, out) == (1, "")
    assert errors == "bridge.py: packages of the bridge are missing: run `make setup` first\n"
