"""YAML read as the bridge reads a routes file."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from bridge.config.interpolation import interpolate
from bridge.config.problems import Problems
from bridge.config.yaml_tree import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.config.yaml_tree import Node

__all__ = ["interpolated", "problems_of", "read", "tree"]


def tree(text: str) -> Node:
    """Return the tree of a text without problems."""
    problems = Problems()
    node = parse(text, "file.yaml", problems)
    assert not problems, problems
    assert node is not None
    return node


def read(text: str) -> Any:
    """Return the plain value of a text without problems."""
    return tree(text).plain()


def problems_of(text: str) -> list[str]:
    """Return the problems of a text, each as `line:column: message`."""
    problems = Problems()
    parse(text, "file.yaml", problems)
    return [f"{problem.location.line}:{problem.location.column}: {problem.message}" for problem in problems]


def interpolated(
    text: str, environment: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None
) -> tuple[Any, list[str]]:
    """Return the plain value of an interpolated text, and the messages of its problems."""

    def read_file(name: str) -> str:
        if files is None or name not in files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return files[name]

    problems = Problems()
    node = tree(text)
    interpolate(node, environment or {}, read_file, problems)
    return node.plain(), [problem.message for problem in problems]
