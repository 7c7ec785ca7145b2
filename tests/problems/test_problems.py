"""Faulty routes files NAME.yaml, and the problems that must be reported, NAME.txt.

    3:5: routes[0].respones: unknown key        line, column, path, the beginning of the message
      did you mean `response`?                  other parts of the message

    4:5: warning: routes[0].models[1]: `a`      a warning: the file could be served

Every problem is reported at once and each problem once, with a caret under its column. So are the warnings of
a file whose NAME.txt has one.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from bridge.core.errors import ConfigError
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.yaml"))

PRESET = "path: /generate\nrequest: {body: {prompt: [$.prompt]}}\nresponse: {text: '$.data[0]'}\n"


class Expected(NamedTuple):
    """A problem in NAME.txt."""

    head: str
    parts: list[str]

    @property
    def place(self) -> tuple[int, int]:
        line, column, _ = self.head.split(":", 2)
        return int(line), int(column)


def _read_file(name: str) -> str:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


ENVIRONMENT = LoadEnvironment(
    {"KEY": "secret", "BEARER": "Bearer secret-key"}, _read_file, {"litellm": PRESET, "tgi": PRESET}
)


def _expected(name: str) -> list[Expected]:
    expected: list[Expected] = []
    for line in (HERE / f"{name}.txt").read_text().splitlines():
        if line.startswith("  "):
            expected[-1].parts.append(line.strip())
        else:
            expected.append(Expected(line, []))
    return expected


def _problems(name: str) -> list[str]:
    """Return the problems of a file, and its warnings if NAME.txt has one."""
    problems: Sequence[object] = ()
    try:
        warnings: Sequence[object] = load(
            (HERE / f"{name}.yaml").read_text(), "routes.yaml", ENVIRONMENT
        ).warnings
    except ConfigError as error:
        problems, warnings = error.problems, error.warnings
    expects_warnings = ": warning: " in (HERE / f"{name}.txt").read_text()
    reported = [str(each) for each in (*problems, *(warnings if expects_warnings else ()))]
    assert reported
    return sorted(reported, key=_place)


def _place(problem: str) -> tuple[int, int]:
    name, line, column, _ = problem.split(":", 3)
    assert name == "routes.yaml"
    return int(line), int(column)


def test_every_faulty_file_has_its_problems() -> None:
    assert len(NAMES) >= 25
    assert sorted(path.stem for path in HERE.glob("*.txt")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_problem_is_reported_at_once(name: str) -> None:
    problems = _problems(name)
    expected = _expected(name)
    assert [_place(problem) for problem in problems] == [each.place for each in expected], "\n".join(problems)
    for problem, each in zip(problems, expected, strict=True):
        head = problem.split("\n")[0].removeprefix("routes.yaml:")
        assert head.startswith(each.head), problem
        for part in each.parts:
            assert part in problem


@pytest.mark.parametrize("name", NAMES)
def test_the_caret_marks_the_column(name: str) -> None:
    lines = (HERE / f"{name}.yaml").read_text().split("\n")
    for problem in _problems(name):
        line, column = _place(problem)
        _, excerpt, caret, *_ = problem.split("\n")
        assert caret.strip() == "^"
        shown = excerpt[caret.index("^") :]
        assert len(excerpt) <= 114
        assert lines[line - 1][column - 1 :].replace("\t", " ").startswith(shown)
        assert shown or column > len(lines[line - 1])


def test_a_valid_file_has_no_problems() -> None:
    text = "routes: [{models: m, preset: tgi, upstream: 'http://127.0.0.1:8000', auth: {bearer: '${KEY}'}}]"
    assert load(text, "routes.yaml", ENVIRONMENT).models == ["m"]
