"""Colours on a terminal, and the completion of shells."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import Run, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["run"]

DOUBTFUL = "routes: [{models: m, upstream: 'http://127.0.0.1:443/chat', response: $.t}]\n"


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that makes standard output a terminal."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return lambda: monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def test_problems_and_warnings_have_colours_on_a_terminal(run: Run, on_terminal: Callable[[], None]) -> None:
    on_terminal()
    assert run("check", "routes.yaml", text=DOUBTFUL).out.startswith("\x1b[33mroutes.yaml:1:")
    assert run("check", "routes.yaml").out.startswith("\x1b[32mroutes.yaml: 2 routes")
    broken = run("check", "routes.yaml", text=DOUBTFUL.replace("models", "modles"))
    assert broken.out.startswith("\x1b[31mroutes.yaml:1:")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_turned_off(
    name: str, value: str, run: Run, on_terminal: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminal()
    monkeypatch.setenv(name, value)
    assert "\x1b" not in run("check", "routes.yaml", text=DOUBTFUL).out


def test_a_pipe_has_no_colours(run: Run) -> None:
    assert "\x1b" not in run("check", "routes.yaml", text=DOUBTFUL).out


def test_bash_completes_commands_options_and_presets(run: Run, tmp_path: Path) -> None:
    script = run("completion", "bash", text=None).out

    def completed(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in words)
        check = f"{script}\nCOMP_WORDS=(format-bridge {line}); COMP_CWORD={len(words)}; _format_bridge\n"
        done = subprocess.run(
            ["bash", "-c", check + 'printf "%s\\n" "${COMPREPLY[@]}"'],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,  # names of files are completed as well
        )
        return done.stdout.split()

    assert completed("ch") == ["check"]
    assert completed("check", "--st") == ["--strict"]
    assert completed("presets", "anthropic-c") == ["anthropic-complete"]
    assert "--receives" in completed("explain", "--")


@pytest.mark.parametrize(
    ("shell", "shown"), [("zsh", "bashcompinit"), ("fish", "-l strict"), ("fish", "-a ollama")]
)
def test_other_shells_have_scripts(shell: str, shown: str, run: Run) -> None:
    assert shown in run("completion", shell, text=None).out
