"""Interpolation: `${NAME}`, `${NAME:-default}` and `${file:PATH}` in strings of a file, as in Compose files.

Interpolated values are text and stay text: they are never read as a path or a template, see `Interpolated`.
A string that begins with `$$` is the literal rest after one `$`; elsewhere, `$${` is a literal `${`.
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

_REFERENCE = re.compile(r"\$(?P<escaped>\$)?\{(?P<inside>[^{}]*)\}")
_FORMS = "${NAME}, ${NAME:-default} or ${file:PATH}"
_PLACEHOLDER = "placeholder"
_URL_PLACEHOLDER = "http://placeholder.invalid"  # at the start of a string, which may be a URL
_BOM = "\ufeff"
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


def interpolate(
    tree: Node, variables: Mapping[str, str] | None, read_file: Callable[[str], str], problems: Problems
) -> None:
    """Replace the references in every string of a tree, in place.

    Without `variables`, each value is a placeholder, and no problem is added for the string that contains
    the value. `read_file` returns the text of a file, or raises OSError or ValueError.
    """
    interpolation = _Interpolation(variables, read_file, problems)
    for node in tree.walk():
        if not isinstance(node.value, str) or isinstance(node.value, Interpolated):
            continue
        if node.value.startswith("$$") and not node.value.startswith("$${"):
            node.value = Interpolated(["", ""], [node.value[1:]])
        elif "${" in node.value:
            node.value = interpolation.of(node)


def _without_line_end(text: str) -> str:
    """Return a value without the BOM and the end of the line that the tool that wrote the value added."""
    return text.removeprefix(_BOM).removesuffix("\n").removesuffix("\r")


class _Interpolation:
    """The sources of interpolated values."""

    def __init__(
        self, variables: Mapping[str, str] | None, read_file: Callable[[str], str], problems: Problems
    ) -> None:
        self._variables = variables
        self._read_file = read_file
        self._problems = problems

    def of(self, node: Node) -> Interpolated:
        """Return the string of a node with its references replaced."""
        before = len(self._problems)
        parts, values = [], []
        end = 0
        for reference in _REFERENCE.finditer(node.value):
            parts.append(node.value[end : reference.start()])
            end = reference.end()
            if reference["escaped"]:
                values.append(reference[0][1:])
            else:
                values.append(self._value(reference["inside"], node))
        parts.append(node.value[end:])
        if any("${" in part for part in parts):
            self._problem(node, "`${` without a closing `}`", f"{_FORMS}, or $${{ for a literal ${{")
        if len(self._problems) > before:
            self._problems.suppress(node.location)
        return Interpolated(parts, values)

    def _value(self, inside: str, node: Node) -> str:
        """Return the value of one reference; "" if a problem was added."""
        if inside.startswith("file:"):
            return self._file(inside.removeprefix("file:"), node)
        match = _VARIABLE.fullmatch(inside)
        if not match:
            self._problem(node, f"`${{{inside}}}` is not a valid reference", _FORMS)
            return ""
        name, default = match["name"], match["default"]
        if self._variables is None:
            return default or self._placeholder(node)
        value = _without_line_end(self._variables.get(name, ""))
        if default is not None:
            return value or default
        if name not in self._variables:
            self._problem(
                node,
                f"the environment variable {name} is not set",
                f"the variable to be set, or a default: ${{{name}:-default}}",
            )
        return value

    def _placeholder(self, node: Node) -> str:
        self._problems.suppress(node.location)
        return _URL_PLACEHOLDER if _REFERENCE.match(node.value) else _PLACEHOLDER

    def _file(self, name: str, node: Node) -> str:
        if self._variables is None:
            return self._placeholder(node)
        try:
            return self._read_file(name).removeprefix(_BOM).rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._problem(node, f"cannot read {name}: {reason}")
            return ""

    def _problem(self, node: Node, message: str, expected: str = "") -> None:
        self._problems.add(node.location, node.path, message, expected=expected)
