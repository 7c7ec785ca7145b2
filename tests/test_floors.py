"""Imports only go down.

    4  the door           cli
    3  the world          all that is not named here: server, admin, upstream, metrics, demo, …
    2  the conversation   exchange, routes
    1  six strangers      config, rules, framing, openai, prompts, tools: they never import one another
    0  the ground         errors, deltas, frames, json, strings, templating, tokens

The first three know no sockets, clocks, chance or files. One module alone knows each library.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "bridge"

FLOORS = {
    "cli": 4,
    "exchange": 2, "routes": 2,
    "config": 1, "rules": 1, "framing": 1, "openai": 1, "prompts": 1, "tools": 1,
    "errors": 0, "deltas": 0, "frames": 0, "json": 0, "strings": 0, "templating": 0,
    "tokens": 0,
}  # fmt: skip
WORLD = 3

WORLDLY = {
    "aiohttp", "asyncio", "concurrent", "fcntl", "http", "io", "logging", "mmap", "multiprocessing", "os",
    "pathlib", "prometheus_client", "queue", "random", "sched", "secrets", "select", "selectors", "shutil",
    "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "uuid",
    "uvloop",
}  # fmt: skip

KEEPERS = {
    "orjson": ("bridge.json",),
    "jinja2": ("bridge.templating",),
    "yaml": ("bridge.config",),
    "jsonpath_ng": ("bridge.rules.extended",),
    "jwt": ("bridge.tokens",),
    "botocore": ("bridge.credentials.aws",),
    "httptools": ("bridge.wires", "bridge.clients"),  # the two sides of HTTP
    "redis": ("bridge.keeping.redis",),
}


def _modules(root: Path) -> dict[str, ast.Module]:
    """Every module below a package's directory, by its dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text(), str(path))
    return found


def _imports(name: str, tree: ast.Module, modules: set[str]) -> set[str]:
    """The modules that one imports, at its top or within, for types only or not."""
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


def _package(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _floor(package: str) -> int:
    return FLOORS.get(package, WORLD)


def _opens(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"open", "input", "print"}
        for node in ast.walk(tree)
    )


def faults(root: Path) -> list[str]:
    """What goes against the floors, in a sentence each."""
    modules = _modules(root)
    found: list[str] = []
    beside: dict[str, set[str]] = {}
    for name, tree in modules.items():
        package = _package(name)
        if not package:
            continue
        floor = _floor(package)
        for other in sorted(_imports(name, tree, set(modules))):
            if other.partition(".")[0] == root.name:
                found += _upward(name, other)
                if _package(other) not in ("", package) and _floor(_package(other)) == floor:
                    beside.setdefault(package, set()).add(_package(other))
            elif floor < WORLD and other.partition(".")[0] in WORLDLY:
                found.append(f"{name} knows {other}")
            found += _kept(name, other)
        if floor < WORLD and _opens(tree):
            found.append(f"{name} reads or writes")
    return found + _cycles(beside)


def _upward(name: str, other: str) -> list[str]:
    one, two = _package(name), _package(other)
    if two in ("", one):
        return []
    if _floor(two) > _floor(one):
        return [f"{name} imports {other}, which is above"]
    return [f"{name} imports the stranger {other}"] if _floor(one) == _floor(two) == 1 else []


def _kept(name: str, other: str) -> list[str]:
    keepers = KEEPERS.get(other.partition(".")[0])
    known = keepers is None or any(f"{name}.".startswith(f"{keeper}.") for keeper in keepers)
    return [] if known else [f"{name} knows {other}"]


def _cycles(beside: dict[str, set[str]]) -> list[str]:
    """The packages of one floor that import one another in a circle."""

    def reaches(start: str, wanted: str, seen: set[str]) -> bool:
        for other in beside.get(start, set()) - seen:
            if other == wanted or reaches(other, wanted, seen | {other}):
                return True
        return False

    return [
        f"{package} imports itself by way of others"
        for package in sorted(beside)
        if reaches(package, package, set())
    ]


def test_imports_only_go_down() -> None:
    assert faults(ROOT) == []


def test_every_floor_is_looked_at() -> None:
    modules = _modules(ROOT)
    packages = {_package(name) for name in modules}
    assert packages >= {name for name, floor in FLOORS.items() if floor < WORLD}
    edges = {(name, other) for name, tree in modules.items() for other in _imports(name, tree, set(modules))}
    assert {
        ("bridge.json", "orjson"),
        ("bridge.templating", "jinja2"),
        ("bridge.config.nodes", "yaml"),
    } <= edges
    assert ("bridge.rules.paths", "bridge.deltas") in edges
    assert ("bridge.config.interpolation", "bridge.config.nodes") in edges  # for types only


GOOD = {
    "bridge/__init__.py": "",
    "bridge/errors.py": "import re\n",
    "bridge/json.py": "import orjson\nfrom bridge import errors\n",
    "bridge/config/__init__.py": "",
    "bridge/config/nodes.py": "import yaml\nfrom bridge.config import shapes\nfrom bridge.errors import E\n",
    "bridge/config/shapes.py": "from . import nodes\n",
    "bridge/rules/extended.py": "from jsonpath_ng.ext import parser\n",
    "bridge/routes/table.py": "from bridge.config import nodes\n",
    "bridge/exchange/__init__.py": "from bridge.routes.table import Table\n",
    "bridge/server.py": "import asyncio\nfrom bridge.exchange import Exchange\nfrom bridge import metrics\n",
    "bridge/metrics.py": "import prometheus_client\nprint(1)\n",
    "bridge/cli/__init__.py": "import os\nfrom bridge.server import serve\n",
}


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("errors", "from bridge.config import nodes", "imports bridge.config.nodes, which is above"),
        ("errors", "import bridge.server", "imports bridge.server, which is above"),
        ("errors", "def f():\n    from bridge import server", "imports bridge.server, which is above"),
        ("routes/x", "from bridge import metrics", "imports bridge.metrics, which is above"),
        ("metrics", "from bridge.cli import main", "imports bridge.cli, which is above"),
        ("config/x", "from bridge.rules import extended", "imports the stranger bridge.rules.extended"),
        ("config/x", "from ..rules.extended import Path", "imports the stranger bridge.rules.extended"),
        (
            "rules/x",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bridge.config.nodes import Node",
            "imports the stranger bridge.config.nodes",
        ),
        ("config/x", "import asyncio", "knows asyncio"),
        ("routes/x", "from os.path import join", "knows os.path"),
        ("exchange/x", "def f():\n    import time", "knows time"),
        ("errors", "text = open('x').read()", "reads or writes"),
        ("exchange/x", "import orjson", "knows orjson"),
        ("server", "from jinja2 import nodes", "knows jinja2"),
        ("rules/x", "import yaml", "knows yaml"),
        ("rules/slots", "import jsonpath_ng", "knows jsonpath_ng"),
        ("routes/x", "from bridge.exchange import Exchange", "exchange imports itself by way of others"),
    ],
)
def test_the_checker_can_fail(tmp_path: Path, path: str, text: str, fault: str) -> None:
    for name, good in GOOD.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(good)
    root = tmp_path / "bridge"
    assert faults(root) == []
    (root / f"{path}.py").write_text(text)
    found = faults(root)
    assert fault in found or f"bridge.{path.replace('/', '.')} {fault}" in found
