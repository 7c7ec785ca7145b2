"""Reads a file of routes and what it may reach: the environment, files beside it, shipped presets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.config.problems import Location, Problem, SourceFile
from bridge.core.errors import ConfigError
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.routes.table import RouteTable

__all__ = ["load_routes", "read_presets"]


def load_routes(name: str, extra: Mapping[str, str] | None = None) -> RouteTable:
    """The table of a file; `extra` adds to the environment. Raises ConfigError with every problem in it."""
    path = Path(name)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError([_unreadable(name, error.strerror or str(error))]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([_unreadable(name, f"not UTF-8: byte {error.start + 1}")]) from None
    environment = LoadEnvironment(
        variables={**os.environ, **(extra or {})},
        read_file=partial(_read_relative, path.parent),
        presets=read_presets(),
        locate=lambda named: str((path.parent / named).absolute()),
    )
    return load(text, name, environment)


def _read_relative(folder: Path, name: str) -> str:
    """A file that is named in another one: relative to that."""
    return (folder / name).read_text(encoding="utf-8")


@cache
def read_presets() -> Mapping[str, str]:
    """The shipped presets: the text of each by its name, in the order of names."""
    return _Presets(Path(__file__).parent / "presets")


class _Presets(Mapping[str, str]):
    """Read when asked for: few files name one, and all of them would be opened at every start."""

    def __init__(self, folder: Path) -> None:
        found = {path.stem: path for path in folder.glob("*.yaml")}
        self._paths = {name: found[name] for name in sorted(found)}

    def __getitem__(self, name: str) -> str:
        return self._paths[name].read_text(encoding="utf-8")

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _unreadable(name: str, reason: str) -> Problem:
    return Problem(Location(SourceFile(name, ()), 1, 1), "", f"cannot be read: {reason}")
