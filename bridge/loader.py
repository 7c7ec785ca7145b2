"""Loading of a routes file with its environment: variables, files beside the file, shipped presets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.config.problems import Location, Problem, SourceFile
from bridge.core.errors import ConfigError
from bridge.file_stamp import file_stamp
from bridge.routes.compile.environment import LoadEnvironment, accept_tls
from bridge.routes.table import load
from bridge.upstream.tls import check_tls_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.file_stamp import FileStamp
    from bridge.routes.table import RouteTable

__all__ = ["load_routes", "load_standard_input", "read_presets"]


def load_routes(
    name: str,
    variables: Mapping[str, str] | None = None,
    *,
    reads_environment: bool = True,
    stamps: dict[str, FileStamp] | None = None,
) -> RouteTable:
    """Return the table of a file; `variables` are added to the process's environment variables.

    Without `reads_environment`, each `${…}` has a placeholder, and certificate files are not read. `stamps`
    receives the stamps of the files that the file names, from before they are read. Raises ConfigError with
    every problem of the file.
    """
    try:
        data = Path(name).read_bytes()
    except OSError as error:
        raise ConfigError([_unreadable(name, error.strerror or str(error))]) from None
    folder = Path(name).parent
    read_file = partial(_read_relative, folder, {} if stamps is None else stamps)
    return _load(data, name, folder, read_file, variables or {}, reads_environment=reads_environment)


def load_standard_input(data: bytes, *, reads_environment: bool = True) -> RouteTable:
    """Return the table of a file's bytes; names of files are relative to the current folder."""
    read_file = partial(_read_relative, Path(), {})
    return _load(data, "<stdin>", Path(), read_file, {}, reads_environment=reads_environment)


def _load(
    data: bytes,
    name: str,
    folder: Path,
    read_file: Callable[[str], str],
    variables: Mapping[str, str],
    *,
    reads_environment: bool,
) -> RouteTable:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([_unreadable(name, f"not UTF-8: byte {error.start + 1}")]) from None
    environment = LoadEnvironment(
        variables={**os.environ, **variables} if reads_environment else None,
        read_file=read_file,
        presets=read_presets(),
        check_tls=check_tls_files if reads_environment else accept_tls,
        locate=lambda file: str((folder / file).absolute()),
    )
    return load(text, name, environment)


def _read_relative(folder: Path, stamps: dict[str, FileStamp], name: str) -> str:
    path = str(folder / name)
    stamps[path] = file_stamp(path)
    return (folder / name).read_text(encoding="utf-8-sig")


@cache
def read_presets() -> Mapping[str, str]:
    """Return the texts of the shipped presets by name, in the order of names."""
    return _Presets(Path(__file__).parent / "presets")


class _Presets(Mapping[str, str]):
    """The presets of a folder. Each is read when it is used: few files name a preset."""

    def __init__(self, folder: Path) -> None:
        paths = {path.stem: path for path in folder.glob("*.yaml")}
        self._paths = {name: paths[name] for name in sorted(paths)}

    def __getitem__(self, name: str) -> str:
        return self._paths[name].read_text(encoding="utf-8")

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _unreadable(name: str, reason: str) -> Problem:
    return Problem(Location(SourceFile(name, ()), 1, 1), "", f"cannot be read: {reason}")
