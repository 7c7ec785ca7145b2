"""The commands check, explain, routes and schema: output and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bridge import __version__
from tests.bridge_process import ROOT, call
from tests.cli.command import KEY, ROUTES, Run, run

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run"]


def test_check_counts_valid_routes_models_and_samples(run: Run) -> None:
    result = run("check", "routes.yaml")
    assert result == (0, "routes.yaml: 2 routes, 2 models, 2 samples: all good\n", "")


def test_check_shows_every_problem_with_its_location(run: Run) -> None:
    broken = (
        ROUTES.replace("models: other", "modles: other")
        .replace("$.delta", "$.[")
        .replace("{{ last }}", "{{ x")
    )
    result = run("check", "routes.yaml", text=broken)
    assert result.code == 1
    for place in ("routes.yaml:8:", "routes.yaml:10:13", "routes.yaml:20:5"):
        assert place in result.out, result.out
    assert "models" in result.out, "the closest known key"
    assert "^" in result.out
    assert "Traceback" not in result.out + result.errors
    assert result.errors.startswith("routes.yaml: ")
    assert KEY not in result.out + result.errors


@pytest.mark.parametrize(
    ("good", "bad", "place", "shown"),
    [
        ("say: hi, secret", "say: ho, secret", "routes.yaml:13:16", "ho"),
        ("answers: hello\n      - req", "answers: howdy\n      - req", "routes.yaml:15:18", "howdy"),
        ("receives: {text: hello}", "receives: {texts: hello}", "routes.yaml:15:18", "hello"),
        ("models: [m,", "models: [k,", "routes.yaml:13:16", "sent-k"),
    ],
)
def test_check_shows_a_failing_sample(good: str, bad: str, place: str, shown: str, run: Run) -> None:
    assert good in ROUTES
    result = run("check", "routes.yaml", text=ROUTES.replace(good, bad))
    assert result.code == 1
    assert place in result.out, result.out
    assert shown in result.out
    assert result.errors == "routes.yaml: 1 problem\n"


def test_check_masks_secrets(run: Run) -> None:
    other = ROUTES.replace('say: hi, secret: "${KEY}"', "say: hi, secret: another")
    result = run("check", "routes.yaml", text=other)
    assert result.code == 1
    assert KEY not in result.out


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ((), "COMMAND"),
        (("frobnicate",), "frobnicate"),
        (("check",), "file"),
        (("check", "routes.yaml", "--json", "--sarif"), "--sarif"),
        (("check", "routes.yaml", "--fast"), "--fast"),
        (("explain", "routes.yaml"), "--model"),
        (("explain", "routes.yaml", "--model", "m", "--endpoint", "nowhere"), "nowhere"),
        (("serve", "--workers", "0"), "--workers"),
        (("serve", "--workers", "many"), "--workers"),
        (("serve", "--port", "1"), "--port"),
    ],
)
def test_invalid_arguments_exit_with_2(arguments: tuple[str, ...], shown: str, run: Run) -> None:
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert shown in result.errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "none.yaml"),
        ("explain", "none.yaml", "--model", "m"),
        ("routes", "none.yaml"),
        ("serve", "none.yaml"),
    ],
)
def test_a_missing_file_exits_with_1(arguments: tuple[str, ...], run: Run) -> None:
    result = run(*arguments)
    assert result.code == 1
    assert "none.yaml:1:1" in result.out
    assert "cannot be read" in result.out


@pytest.mark.parametrize(
    ("flags", "variables"),
    [
        (("--listen", "nonsense"), {}),
        (("--listen", "127.0.0.1:99999"), {}),
        (("--listen", "no.such.host.invalid:0"), {}),
        ((), {"BRIDGE_LISTEN": "nonsense"}),
        ((), {"BRIDGE_WORKERS": "many"}),
    ],
)
def test_an_invalid_setting_is_reported_in_one_line(
    flags: tuple[str, ...], variables: dict[str, str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = run("serve", "routes.yaml", *flags)
    assert (result.code, result.out) == (1, "")
    assert result.errors.startswith("format-bridge: ")
    assert result.errors.count("\n") == 1, "one line, no traceback"


def test_a_faulty_file_is_not_served(run: Run) -> None:
    result = run("serve", "routes.yaml", text="routes: [{models: m, upstrem: http://x}]")
    assert result.code == 1
    assert "routes.yaml:1:22" in result.out


def test_routes_lists_the_routes(run: Run) -> None:
    result = run("routes", "routes.yaml")
    assert (result.code, result.errors) == (0, "")
    head, own, second = result.out.splitlines()
    assert head.split() == ["NAME", "MODELS", "UPSTREAM", "SERVES", "RESPONSES"]
    for line, words in ((own, ("own", "m, glob-*", "chat, completions", "non-streaming, streaming")),
                        (second, ("two", "other", "http://127.0.0.1:2", "non-streaming"))):  # fmt: skip
        assert all(word in line for word in words), line


def test_routes_masks_secrets(run: Run) -> None:
    assert KEY not in run("routes", "routes.yaml").out


def test_schema_prints_a_json_schema(run: Run) -> None:
    result = run("schema")
    assert (result.code, result.errors) == (0, "")
    schema = json.loads(result.out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"routes", "server"} <= set(schema["properties"])


def test_version_and_help_are_printed(run: Run) -> None:
    assert run("--version") == (0, f"format-bridge {__version__}\n", "")
    for arguments in (
        ("--help",),
        *((name, "--help") for name in ("serve", "check", "explain", "routes", "schema")),
    ):
        result = run(*arguments)
        assert (result.code, result.errors) == (0, "")
        assert "usage: format-bridge" in result.out
        assert all(len(line) <= 110 for line in result.out.splitlines())


async def test_the_launcher_runs_the_command(tmp_path: Path) -> None:
    assert await call(tmp_path, "--version") == (0, f"format-bridge {__version__}\n", "")
    (tmp_path / "routes.yaml").write_text(ROUTES)
    code, out, errors = await call(tmp_path, "check", "routes.yaml", environment={"KEY": KEY})
    assert (code, out, errors) == (0, "routes.yaml: 2 routes, 2 models, 2 samples: all good\n", "")
    code, out, _ = await call(
        tmp_path, "explain", "routes.yaml", "--model", "m", "-",
        environment={"KEY": KEY}, data=b'{"messages": [{"role": "user", "content": "piped"}]}',
    )  # fmt: skip
    assert (code, '"say": "piped"' in out) == (0, True)


def test_a_closed_pipe_ends_the_command_quietly() -> None:
    command = f"{sys.executable} bridge.py reference | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
