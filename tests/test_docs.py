"""Every example in the docs works: tables load and their samples hold, commands and code run."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
import yaml

from bridge.cli.check import check_sample
from bridge.cli.presets import markdown
from bridge.cli.reference import reference
from bridge.loader import read_presets
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load
from tests.clients.bridge_process import ROOT, running

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = ["README.md", "docs/language.md", "docs/operating.md"]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def tables() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, block in enumerate(blocks(page, "yaml")):
            yield f"{page}-{number}", block
    pod = (ROOT / "deploy/sidecar.yaml").read_text(encoding="utf-8")
    yield "deploy/sidecar.yaml", next(iter(yaml.safe_load_all(pod)))["data"]["routes.yaml"]


@pytest.mark.parametrize(("name", "text"), [pytest.param(name, text, id=name) for name, text in tables()])
def test_tables_load_and_their_samples_hold(name: str, text: str) -> None:
    table = load(text, name, LoadEnvironment({}, lambda path: "", read_presets()))
    faults = [
        fault
        for route in table.routes
        for _, sample in route.samples
        for fault in check_sample(route, sample)
    ]
    assert faults == []


def test_the_shipped_table_holds() -> None:
    done = subprocess.run(
        [sys.executable, "bridge.py", "check", "routes.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_reference_is_what_the_declarations_say() -> None:
    assert (ROOT / "docs/reference.md").read_text(encoding="utf-8") == reference()


def test_the_readme_lists_the_presets() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Presets\n")[2]
    table = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    assert table == markdown().splitlines()


def test_what_the_readme_says_to_try() -> None:
    curl = blocks("README.md", "sh")[1]
    (code,) = blocks("README.md", "python")
    with running(ROOT / "routes.yaml", "--demo") as bridge:
        code = code.replace("http://127.0.0.1:8080", bridge.url)
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (said.returncode, said.stderr) == (0, "")
        for model in ("chatglm2-6b", "llama-2-13b", "mock", "gpt-1337-turbo-pro-max"):
            whole, streamed = re.search(rf"^{model} says: (.*)\n(.*)$", said.stdout, re.MULTILINE).groups()  # type: ignore[union-attr]
            assert whole
            assert streamed.replace("|", "").rstrip() == whole.rstrip()
        body = re.search(r"-d '(.*)'", curl, re.DOTALL)
        assert body is not None
        # As `curl -d` sends it, with the content type of a form.
        with urlopen(f"{bridge.url}/v1/chat/completions", body[1].encode()) as response:
            assert b'"object":"chat.completion"' in response.read()


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, "docs/architecture.md", "docs/reference.md", "CONTRIBUTING.md"]:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} leads to {target}"
