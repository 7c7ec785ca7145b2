"""`${NAME}`, `${NAME:-default}` and `${file:PATH}` in the strings of a file, as Compose writes them.

What comes from outside is text and stays text: never a path, never a template (see `Interpolated`).
A string that begins with `$$` is the literal rest with one `$`; `$${` elsewhere is a literal `${`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.core.strings import Interpolated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node

__all__ = ["interpolate"]

_HOLE = re.compile(r"\$(?P<escaped>\$)?\{(?P<inside>[^{}]*)\}")
_FORMS = "${NAME}, ${NAME:-default} or ${file:PATH}"
_NAME = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


def interpolate(
    tree: Node, environment: Mapping[str, str], read_file: Callable[[str], str], problems: Problems
) -> None:
    """Fill the holes of every string below `tree`, in place.

    `read_file` gives a file's text and raises OSError where it cannot.
    """
    seen: set[int] = set()
    for node in tree.walk():
        if id(node) in seen or not isinstance(node.value, str) or isinstance(node.value, Interpolated):
            continue
        seen.add(id(node))
        if node.value.startswith("$$") and not node.value.startswith("$${"):
            node.value = Interpolated(["", ""], [node.value[1:]])
        elif "${" in node.value:
            node.value = _fill(node, environment, read_file, problems)


def _fill(
    node: Node, environment: Mapping[str, str], read_file: Callable[[str], str], problems: Problems
) -> Interpolated:
    before = len(problems)
    parts, values = [], []
    end = 0
    for hole in _HOLE.finditer(node.value):
        parts.append(node.value[end : hole.start()])
        end = hole.end()
        if hole["escaped"]:
            values.append(hole[0][1:])
        else:
            values.append(_look_up(hole["inside"], node, environment, read_file, problems))
    parts.append(node.value[end:])
    if any("${" in part for part in parts):
        problems.add(
            node.location, node.path, "`${` without its `}`", expected=f"{_FORMS}, or $${{ for a literal ${{"
        )
    if len(problems) > before:
        problems.suppress(node.location)
    return Interpolated(parts, values)


def _look_up(
    inside: str,
    node: Node,
    environment: Mapping[str, str],
    read_file: Callable[[str], str],
    problems: Problems,
) -> str:
    if inside.startswith("file:"):
        try:
            return read_file(inside.removeprefix("file:")).rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            problems.add(node.location, node.path, f"cannot read {inside.removeprefix('file:')}: {reason}")
            return ""
    match = _NAME.fullmatch(inside)
    if not match:
        problems.add(
            node.location,
            node.path,
            f"`${{{inside}}}` is no variable",
            expected=_FORMS,
        )
        return ""
    value, default = environment.get(match["name"], ""), match["default"]
    if default is not None:
        return value or default
    if match["name"] not in environment:
        problems.add(
            node.location,
            node.path,
            f"the environment variable {match['name']} is not set",
            expected=f"it to be set, or a default: ${{{match['name']}:-default}}",
        )
        return ""
    return value
