"""The documentation is true: files load, samples hold, commands and code run, tables agree with the code."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from bridge.cli.presets import markdown
from bridge.cli.reference import reference
from bridge.cli.samples import check_sample
from bridge.loader import read_presets
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load
from tests.bridge_process import ROOT, running
from tests.test_imports import ALLOWED

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = [
    "README.md", "docs/language.md", "docs/operating.md", "docs/architecture.md", "docs/reference.md",
    "docs/promises.md", "docs/security.md", "docs/runbook.md", "CONTRIBUTING.md", "CHANGELOG.md",
]  # fmt: skip


def page_text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def code_blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page_text(page), re.DOTALL | re.MULTILINE)


def routes_files() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every routes file in the documentation."""
    for page in PAGES:
        for number, block in enumerate(code_blocks(page, "yaml")):
            yield f"{page}-{number}", block
    for file in (ROOT / "deploy").rglob("routes.yaml"):
        yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text"), [pytest.param(name, text, id=name) for name, text in routes_files()]
)
def test_examples_load_and_their_samples_hold(name: str, text: str) -> None:
    variables = {variable: f"value-of-{variable}" for variable in re.findall(r"\$\{(\w+)\}", text)}
    table = load(text, name, LoadEnvironment(variables, lambda path: "", read_presets()))
    differences = [
        difference
        for route in table.routes
        for _, sample in route.samples
        for difference in check_sample(route, sample)
    ]
    assert differences == []
    warnings = [str(warning) for warning in table.warnings if "not listed at /v1/models" not in str(warning)]
    assert warnings == []


def test_shipped_routes_pass_the_check() -> None:
    done = subprocess.run(
        [sys.executable, "bridge.py", "check", "routes.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_reference_is_generated_from_the_declarations() -> None:
    assert page_text("docs/reference.md") == reference()


def test_readme_lists_every_preset() -> None:
    section = page_text("README.md").partition("\n## Presets\n")[2]
    assert [line for line in section.splitlines() if line.startswith("|")] == markdown().splitlines()


def test_architecture_lists_the_allowed_imports() -> None:
    table = page_text("docs/architecture.md").partition("| folder | may import")[2].partition("\n\n")[0]
    assert table.splitlines()[2:] == [
        f"| `{folder}` | {imports_cell(allowed)} |" for folder, allowed in ALLOWED.items()
    ]


def imports_cell(allowed: set[str]) -> str:
    if allowed >= ALLOWED.keys() - {"cli", "__main__"}:
        return "everything"
    return ", ".join(f"`{folder}`" for folder in sorted(allowed)) or "nothing"


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    for name in re.findall(
        r"`([\w./]+\.(?:py|yaml|md)|(?:bridge|tests|docs|bench)/[\w/]*)`", page_text(page)
    ):
        if "NAME" not in name:
            assert (ROOT / name).exists() or (ROOT / "bridge" / name).exists(), f"{page} names {name}"


def test_every_promise_names_a_test_that_exists() -> None:
    names = re.findall(r"`(tests/[\w/.]+)::(\w+)` \|$", page_text("docs/promises.md"), re.MULTILINE)
    missing = [f"{file}::{name}" for file, name in names if f"def {name}(" not in page_text(file)]
    assert (len(names) > 10, missing) == (True, [])


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    for file, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page_text(page)):
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), f"{page} links to {file}"
        if heading:
            assert heading in headings(target.read_text(encoding="utf-8")), f"{page} links to #{heading}"


def headings(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_readme_examples_run() -> None:
    curl = code_blocks("README.md", "sh")[1]
    (code,) = code_blocks("README.md", "python")
    with running(ROOT / "routes.yaml", "--demo") as bridge:
        code = code.replace("http://127.0.0.1:8080", bridge.url)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        for model in ("chatglm2-6b", "llama-2-13b", "mock", "gpt-1337-turbo-pro-max"):
            match = re.search(rf"^{model} says: (.*)\n(.*)$", done.stdout, re.MULTILINE)
            assert match is not None
            completion, streamed = match.groups()
            assert completion
            assert streamed.replace("|", "").rstrip() == completion.rstrip()
        body = re.search(r"-d '(.*)'", curl, re.DOTALL)
        assert body is not None
        # As `curl -d` sends the body, with the content type of a form.
        with urlopen(f"{bridge.url}/v1/chat/completions", body[1].encode()) as response:
            assert b'"object":"chat.completion"' in response.read()
