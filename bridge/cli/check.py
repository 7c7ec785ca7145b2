"""`format-bridge check`: every problem and warning of files, samples included; as text, JSON or SARIF."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge import __version__
from bridge.cli.samples import check_sample
from bridge.cli.terminal import highlight
from bridge.config.problems import Problem
from bridge.core import json
from bridge.core.errors import ConfigError
from bridge.core.strings import count_of
from bridge.loader import load_routes, load_standard_input

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from bridge.routes.table import RouteTable

__all__ = ["check"]

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, slots=True)
class _Report:
    """The result of one file."""

    file: str
    problems: Sequence[Any]
    warnings: Sequence[Any]
    table: RouteTable | None = None  # None: the file cannot be loaded

    def counts(self) -> dict[str, int]:
        """Return the numbers of routes, models and samples."""
        if self.table is None:
            return {"routes": 0, "models": 0, "samples": 0}
        routes = self.table.routes
        samples = sum(len(route.samples) for route in routes)
        return {"routes": len(routes), "models": len(self.table.models), "samples": samples}


def check(arguments: argparse.Namespace) -> int:
    """Check every file, and return the exit code: 1 for a problem, with `--strict` for a warning too."""
    reports = [_check_file(name, arguments) for name in arguments.file]
    if arguments.json:
        print(json.pretty([_as_json(report) for report in reports]))
    elif arguments.sarif:
        print(json.pretty(_as_sarif(reports)))
    else:
        for report in reports:
            _print(report, strict=arguments.strict)
    failed = any(report.problems or (arguments.strict and report.warnings) for report in reports)
    return 1 if failed else 0


def _check_file(name: str, arguments: argparse.Namespace) -> _Report:
    try:
        if name == "-":
            table = load_standard_input(sys.stdin.buffer.read(), reads_environment=not arguments.no_env)
        else:
            table = load_routes(name, reads_environment=not arguments.no_env)
    except ConfigError as error:
        return _Report(name, error.problems, error.warnings)
    return _Report(name, list(_sample_problems(table)), table.warnings, table)


def _sample_problems(table: RouteTable) -> Iterator[Problem]:
    for route in table.routes:
        for node, sample in route.samples:
            for key, message in check_sample(route, sample):
                at = node.find((key,))
                yield Problem(at.location, at.path, route.mask(message))


def _print(report: _Report, *, strict: bool) -> None:
    """Print the problems and warnings of a file in their order, and a line with their numbers."""
    for each in sorted((*report.problems, *report.warnings), key=_line):
        print(highlight(str(each), "warning" if each.is_warning else "problem"))
    found = [count_of(len(report.problems), "problem")] if report.problems else []
    found += [count_of(len(report.warnings), "warning")] if report.warnings else []
    if report.problems or (strict and report.warnings):
        print(f"{report.file}: {', '.join(found)}", file=sys.stderr)
    else:
        numbers = ", ".join(count_of(number, noun[:-1]) for noun, number in report.counts().items())
        result = f"{report.file}: {numbers}: {', '.join(found) or 'all good'}"
        print(highlight(result, "warning" if found else "good"))


def _line(problem: Any) -> tuple[int, int]:
    return problem.location.line, problem.location.column


def _as_json(report: _Report) -> dict[str, Any]:
    return {
        "file": report.file,
        "valid": not report.problems,
        **report.counts(),
        "problems": [each.as_json() for each in report.problems],
        "warnings": [each.as_json() for each in report.warnings],
    }


def _as_sarif(reports: list[_Report]) -> dict[str, Any]:
    """Return the reports as SARIF 2.1.0, which code hosts show beside the lines of a change."""
    driver = {"name": "format-bridge", "version": __version__}
    results = [_sarif_result(each) for report in reports for each in (*report.problems, *report.warnings)]
    return {"$schema": _SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _sarif_result(problem: Problem) -> dict[str, Any]:
    place = problem.as_json()
    return {
        "ruleId": place["severity"],
        "level": "warning" if problem.is_warning else "error",
        "message": {"text": ": ".join(filter(None, (problem.path, problem.message, problem.expected)))},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": place["file"]},
                    "region": {"startLine": place["line"], "startColumn": place["column"]},
                }
            }
        ],
    }
