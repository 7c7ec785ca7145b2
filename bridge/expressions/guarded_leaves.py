"""Leaves of a template that are only sent if a condition holds, to name the parameters that are left out.

    temperature: {$path: $.temperature, when: {$.reasoning_effort: none}}

A parameter is left out if no leaf sends it, though nothing speaks against its own value. Entries of a
condition on the parameter itself decide what its value means: `reasoning_effort: none` may be sent by leaving
the parameter out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.expressions.conditions import compile_when
from bridge.expressions.paths import compile_path, is_path
from bridge.expressions.scope import RuleErrors

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.expressions.scope import Scope

    Holds = Callable[[Scope], bool]

__all__ = ["Guard", "GuardedLeaves"]


class Guard(NamedTuple):
    """A condition of a leaf."""

    holds: Holds
    value: Any  # the condition in the file


class GuardedLeaves:
    """The leaves of one template, by the member of the document that they send."""

    __slots__ = ("_always", "_leaves")

    def __init__(self) -> None:
        self._always: set[str] = set()  # members that a leaf without conditions sends
        self._leaves: dict[str, list[tuple[Holds, Holds]]] = {}  # when sent, and when not by its own value

    def __bool__(self) -> bool:
        """Return whether any member is only sent under conditions."""
        return bool(self._leaves)

    def add(self, name: str, guards: list[Guard]) -> None:
        """Add a leaf that sends a member if all guards hold."""
        if not guards:
            self._always.add(name)
            self._leaves.pop(name, None)
        elif name not in self._always:
            own = [own_entries(guard.value, name) for guard in guards]
            conditions = [guard.holds for guard in guards]
            self._leaves.setdefault(name, []).append((_all(conditions), _all(own)))

    def left_out(self, scope: Scope) -> list[str]:
        """Return the members of the document that no leaf sends, though their own values allow it."""
        return [
            name
            for name, leaves in self._leaves.items()
            if name in scope.doc
            and not any(sent(scope) for sent, _ in leaves)
            and any(own(scope) for _, own in leaves)
        ]


def own_entries(value: Any, name: str) -> Holds:
    """Return whether the entries of a condition on a member hold, in any of its mappings."""
    mappings = value if isinstance(value, list) else [value]
    parts = [
        {key: match for key, match in mapping.items() if is_path(key) and compile_path(key).head == name}
        for mapping in mappings
        if isinstance(mapping, dict)
    ]
    if not all(parts):
        return lambda scope: True
    return compile_when(parts, RuleErrors()).holds


def _all(conditions: list[Holds]) -> Holds:
    return lambda scope: all(holds(scope) for holds in conditions)
