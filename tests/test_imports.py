"""The imports of `bridge/` follow one table, and only I/O folders know sockets, clocks and files.

The table is the architecture: each folder lists the folders it may import besides `core`. It has no cycles.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "bridge"

EXCHANGE = {"expressions", "openai", "routes/rules"}
RULES = {"config", "expressions", "framing", "openai", "prompts", "tool_formats"}
SPEC = RULES | {"routes/rules"}
COMPILE = SPEC | {"routes/spec"}

ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "config": set(), "expressions": set(), "framing": set(), "openai": set(), "prompts": set(),
    "tool_formats": set(), "demo": set(),
    "routes/rules": RULES,
    "routes/spec": SPEC,
    "routes/compile": COMPILE,
    "routes": {"config", "openai", "routes/rules", "routes/spec", "routes/compile"},
    "exchange/decode": EXCHANGE | {"framing"},
    "exchange": EXCHANGE | {"exchange/decode", "framing", "tool_formats"},
    "telemetry": {"openai", "exchange"},
    "file_stamp": set(),
    "tasks": set(),
    "thread_pool": set(),
    "loader": {"config", "file_stamp", "routes", "routes/compile", "upstream"},
    "upstream/auth": {"expressions", "openai", "routes/rules", "tasks"},
    "upstream": {"framing", "routes/rules", "telemetry", "upstream/auth", "file_stamp"},
    "sessions": {"exchange", "routes/rules", "tasks", "telemetry", "upstream"},
    "proxy": {"exchange", "openai", "routes/rules", "sessions", "tasks", "telemetry",
              "thread_pool", "upstream"},
    "server": {
        "exchange", "file_stamp", "loader", "openai", "proxy", "routes", "routes/rules", "telemetry",
        "thread_pool", "upstream",
    },
}  # fmt: skip
ALLOWED["cli"] = set(ALLOWED)
ALLOWED["__main__"] = {"cli"}

NO_IO = {
    "core", "config", "expressions", "framing", "openai", "prompts", "tool_formats", "routes/rules",
    "routes/spec", "routes/compile", "routes", "exchange/decode", "exchange",
}  # fmt: skip

IO_LIBRARIES = {
    "aiohttp", "asyncio", "concurrent", "fcntl", "http", "io", "logging", "mmap", "multiprocessing", "os",
    "pathlib", "prometheus_client", "queue", "random", "sched", "secrets", "select", "selectors", "shutil",
    "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "uuid",
    "uvloop",
}  # fmt: skip

ONLY_IN = {
    "orjson": ("bridge.core.json",),
    "jinja2": ("bridge.core.jinja", "bridge.core.jinja_counters", "bridge.core.jinja_limits"),
    "yaml": ("bridge.config",),
    "jsonpath_ng": ("bridge.expressions.jsonpath",),
    "re2": ("bridge.core.regex",),
    "jwt": ("bridge.core.jwt",),
    "botocore": ("bridge.upstream.auth.aws_sigv4",),
    "httptools": ("bridge.upstream.response_parser",),
    "uvloop": ("bridge.cli.event_loop",),
    "redis": ("bridge.sessions.redis_store",),
}
"""A third-party library is known to these modules alone."""


def _modules(root: Path) -> dict[str, ast.Module]:
    """Return every module below a package directory, by its dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text(), str(path))
    return found


def _imports(name: str, tree: ast.Module, modules: set[str]) -> set[str]:
    """Return the modules that a module imports, at its top or within, for types only or not."""
    package = name if any(other.startswith(name + ".") for other in modules) else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                above = package.rsplit(".", node.level - 1)[0] if node.level else ""
                source = ".".join(part for part in (above, node.module or "") if part)
                # `from package import module` imports the module.
                names = {f"{source}.{alias.name}" for alias in node.names}
                found |= {one if one in modules else source for one in names}
    return found


def _folder(module: str) -> str:
    """Return the entry of the table that a module belongs to; "" for the package itself."""
    parts = module.split(".")[1:]
    for length in range(len(parts), 0, -1):
        if (folder := "/".join(parts[:length])) in ALLOWED:
            return folder
    return parts[0] if parts else ""


def _opens_files(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"open", "input", "print"}
        for node in ast.walk(tree)
    )


def violations(root: Path) -> list[str]:
    """Return each violation of the table as one sentence."""
    modules = _modules(root)
    found: list[str] = []
    for name, tree in modules.items():
        folder = _folder(name)
        if folder and folder not in ALLOWED:
            found.append(f"{name} is in a folder that the table lacks: {folder}")
            continue
        for other in sorted(_imports(name, tree, set(modules))):
            library = other.partition(".")[0]
            if library == root.name:
                if folder and _folder(other) not in ("", "core", folder, *ALLOWED[folder]):
                    found.append(f"{name} imports {other}: {folder} must not import {_folder(other)}")
            elif folder in NO_IO and library in IO_LIBRARIES:
                found.append(f"{name} imports {other}: {folder} must do no I/O")
            owners = ONLY_IN.get(library)
            if owners and not any(f"{name}.".startswith(f"{owner}.") for owner in owners):
                found.append(f"{name} imports {other}: only {', '.join(owners)} may")
        if folder in NO_IO and _opens_files(tree):
            found.append(f"{name} reads or writes: {folder} must do no I/O")
    return found


def test_imports_follow_the_table() -> None:
    assert violations(ROOT) == []


def test_the_table_has_no_cycles() -> None:
    tuple(TopologicalSorter(ALLOWED).static_order())  # raises CycleError
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(ALLOWED | {"core": {"cli"}}).static_order())


def test_every_folder_is_checked() -> None:
    modules = _modules(ROOT)
    assert {_folder(name) for name in modules} - {""} == set(ALLOWED)
    edges = {(name, other) for name, tree in modules.items() for other in _imports(name, tree, set(modules))}
    assert {
        ("bridge.core.json", "orjson"),
        ("bridge.core.jinja", "jinja2"),
        ("bridge.config.yaml_tree", "yaml"),
        ("bridge.expressions.paths", "bridge.core.deltas"),
        ("bridge.config.interpolation", "bridge.config.yaml_tree"),  # for types only
    } <= edges


GOOD = {
    "bridge/__init__.py": "",
    "bridge/core/errors.py": "import re\n",
    "bridge/core/json.py": "import orjson\nfrom bridge.core import errors\n",
    "bridge/config/__init__.py": "",
    "bridge/config/yaml_tree.py": "import yaml\nfrom bridge.config import value_types\n",
    "bridge/config/value_types.py": "from . import yaml_tree\nfrom bridge.core.errors import E\n",
    "bridge/expressions/jsonpath.py": "from jsonpath_ng.ext import parser\n",
    "bridge/routes/table.py": "from bridge.config import yaml_tree\n",
    "bridge/routes/rules/route.py": "from bridge.expressions import jsonpath\n",
    "bridge/exchange/exchange.py": "from bridge.routes.rules.route import Route\n",
    "bridge/exchange/decode/reader.py": "from bridge.routes.rules.route import Route\n",
    "bridge/telemetry/metrics.py": "import prometheus_client\nprint(1)\n",
    "bridge/proxy/forwarder.py": "import asyncio\nfrom bridge.exchange.exchange import Exchange\n",
    "bridge/server/app.py": "import asyncio\nfrom bridge.proxy.forwarder import Forwarder\n",
    "bridge/cli/__init__.py": "import os\nfrom bridge.server.app import serve\n",
}


@pytest.mark.parametrize(
    ("path", "text", "violation"),
    [
        ("core/x", "from bridge.config import yaml_tree", "core must not import config"),
        ("core/x", "import bridge.server.app", "core must not import server"),
        ("core/x", "def f():\n    from bridge.server import app", "core must not import server"),
        ("routes/x", "from bridge.telemetry import metrics", "routes must not import telemetry"),
        ("telemetry/x", "from bridge.cli import main", "telemetry must not import cli"),
        ("config/x", "from bridge.expressions import jsonpath", "config must not import expressions"),
        ("config/x", "from ..expressions.jsonpath import Path", "config must not import expressions"),
        (
            "expressions/x",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bridge.config import yaml_tree",
            "expressions must not import config",
        ),
        ("exchange/decode/x", "from bridge.exchange import exchange", "must not import exchange"),
        ("routes/rules/x", "from bridge.routes import table", "routes/rules must not import routes"),
        ("routes/x", "from bridge.exchange import exchange", "routes must not import exchange"),
        ("proxy/x", "from bridge.server import app", "proxy must not import server"),
        ("helpers/x", "import re", "a folder that the table lacks: helpers"),
        ("config/x", "import asyncio", "config must do no I/O"),
        ("routes/x", "from os.path import join", "routes must do no I/O"),
        ("exchange/x", "def f():\n    import time", "exchange must do no I/O"),
        ("core/x", "text = open('x').read()", "core must do no I/O"),
        ("exchange/x", "import orjson", "only bridge.core.json may"),
        (
            "server/x",
            "from jinja2 import nodes",
            "only bridge.core.jinja, bridge.core.jinja_counters, bridge.core.jinja_limits may",
        ),
        ("expressions/x", "import yaml", "only bridge.config may"),
        ("expressions/extractors", "import jsonpath_ng", "only bridge.expressions.jsonpath may"),
    ],
)
def test_the_checker_can_fail(tmp_path: Path, path: str, text: str, violation: str) -> None:
    for name, good in GOOD.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(good)
    root = tmp_path / "bridge"
    assert violations(root) == []
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / f"{path}.py").write_text(text)
    (found,) = violations(root)
    assert violation in found
