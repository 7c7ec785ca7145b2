"""The command check: several files, standard input, warnings, JSON, SARIF, files without an environment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.cli.command import KEY, ROUTES, Run, run

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run"]

DOUBTFUL = "routes: [{models: m, upstream: 'http://127.0.0.1:443/chat', response: $.t}]\n"
BROKEN = "routes: [{models: m, upstrem: 'http://127.0.0.1:1'}]\n"


def test_warnings_are_printed_and_the_file_is_valid(run: Run) -> None:
    result = run("check", "routes.yaml", text=DOUBTFUL)
    assert (result.code, result.errors) == (0, "")
    assert "routes.yaml:1:32: warning: routes[0].upstream: port 443 usually serves https" in result.out
    assert result.out.endswith("routes.yaml: 1 route, 1 model, 0 samples: 1 warning\n")


def test_strict_makes_warnings_fail(run: Run) -> None:
    result = run("check", "routes.yaml", "--strict", text=DOUBTFUL)
    assert (result.code, result.errors) == (1, "routes.yaml: 1 warning\n")
    assert "port 443" in result.out
    assert run("check", "routes.yaml", "--strict").code == 0, "a file without warnings"


def test_several_files_are_checked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    (tmp_path / "doubtful.yaml").write_text(DOUBTFUL)
    result = run("check", "broken.yaml", "doubtful.yaml", "routes.yaml", "none.yaml")
    assert result.code == 1
    assert "broken.yaml:1:" in result.out
    assert "doubtful.yaml:1:32: warning: " in result.out
    assert "routes.yaml: 2 routes, 2 models, 2 samples: all good\n" in result.out
    assert "none.yaml:1:1: cannot be read" in result.out
    assert result.errors == "broken.yaml: 1 problem\nnone.yaml: 1 problem\n"


def test_standard_input_is_checked(run: Run) -> None:
    result = run("check", "-", data=ROUTES.encode())
    assert result == (0, "-: 2 routes, 2 models, 2 samples: all good\n", "")
    result = run("check", "-", data=BROKEN.encode())
    assert result.code == 1
    assert result.out.startswith("<stdin>:1:22: routes[0].upstrem: unknown key")


def test_json_holds_problems_and_warnings(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    (tmp_path / "doubtful.yaml").write_text(DOUBTFUL)
    result = run("check", "routes.yaml", "broken.yaml", "doubtful.yaml", "--json")
    assert (result.code, result.errors) == (1, "")
    good, broken, doubtful = json.loads(result.out)
    assert good == {
        "file": "routes.yaml", "valid": True, "routes": 2, "models": 2, "samples": 2,
        "problems": [], "warnings": [],
    }  # fmt: skip
    assert broken["valid"] is False
    (problem,) = broken["problems"]
    assert (problem["line"], problem["column"], problem["path"]) == (1, 22, "routes[0].upstrem")
    assert problem["severity"] == "problem"
    assert "upstream" in problem["expected"]
    assert doubtful["valid"] is True
    assert [each["severity"] for each in doubtful["warnings"]] == ["warning"]


def test_json_holds_failing_samples_without_secrets(run: Run) -> None:
    other = ROUTES.replace('say: hi, secret: "${KEY}"', "say: hi, secret: another")
    result = run("check", "routes.yaml", "--json", text=other)
    assert result.code == 1
    (report,) = json.loads(result.out)
    assert report["problems"][0]["path"] == "routes[0].samples[0].sends"
    assert KEY not in result.out


def test_sarif_holds_a_result_for_each_problem_and_warning(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    (tmp_path / "doubtful.yaml").write_text(DOUBTFUL)
    result = run("check", "broken.yaml", "doubtful.yaml", "--sarif")
    assert result.code == 1
    document = json.loads(result.out)
    assert document["version"] == "2.1.0"
    (done,) = document["runs"]
    assert [each["level"] for each in done["results"]] == ["error", "warning"]
    place = done["results"][1]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "doubtful.yaml"}
    assert place["region"] == {"startLine": 1, "startColumn": 32}


WITHOUT_ENVIRONMENT = """\
server: {workers: "${WORKERS}", keys: ["${file:/no/such/file}"]}
routes:
  - models: m
    upstream: "http://${HOST}:${PORT:-80}/chat"
    auth: {bearer: "${UNSET_KEY}"}
    limits: {concurrency: "${COUNT}"}
    response: $.t
  - models: n
    upstream: "${URL}"
    auth: {bearer: "${UNSET_KEY}"}
    request: {body: {q: $.last, secret: "${UNSET_KEY}"}}
    response: $.t
    samples:
      - request: {messages: [{role: user, content: hi}]}
        sends: {q: hi, secret: "${UNSET_KEY}"}
        receives: {t: hello}
        answers: hello
"""


def test_no_env_checks_without_variables_and_files_of_secrets(run: Run) -> None:
    assert run("check", "routes.yaml", text=WITHOUT_ENVIRONMENT).code == 1
    result = run("check", "routes.yaml", "--no-env", text=WITHOUT_ENVIRONMENT)
    assert (result.code, result.errors) == (0, "")
    for good, bad, shown in (
        ("auth: {bearer", "auth: {bearr", "bearr: unknown key"),
        ("q: hi", "q: ho", "$.q is"),
    ):
        result = run("check", "routes.yaml", "--no-env", text=WITHOUT_ENVIRONMENT.replace(good, bad, 1))
        assert result.code == 1
        assert shown in result.out
