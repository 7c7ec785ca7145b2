"""Whether the text of a stream stands alone: nothing else that the rules look at can lie within it.

    text: $.delta.text       finish_reason: $.stop      error: {when: {$.code: {not: 0}}}     alone
    text: $.text             done: {$.text: "[END]"}                                          not

Where it does, frames that differ in nothing but their text are all read alike. Asked at load, since
conditions know no more than their frame then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.expressions.paths import Path, compile_path, is_path
from bridge.routes.rules.openai_defaults import OPENAI_STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config.yaml_tree import Node
    from bridge.routes.rules.response_rules import StreamRule

__all__ = ["independent_text_path"]

_LOOKED_AT = (("response",), ("stream",), ("error",), ("session", "id"))
_TEXTS = (("stream",), ("stream", "text"), ("response",), ("response", "text"))


def independent_text_path(rule: StreamRule | None, node: Node) -> Path | None:
    """The path of the text of a route's stream, if it is one, of names and indexes, and stands alone."""
    if rule is None:
        return None
    path = _OPENAIS if rule is OPENAI_STREAM else _own(rule)
    return path if path is not None and all(_apart(path, other) for other in _paths(node)) else None


def _own(rule: StreamRule) -> Path | None:
    """The path of the text, where it is that of a mapped server, and taken as it is."""
    slot = rule.answer.text
    if rule.text_data or rule.replace is not None or rule.answer.choices is not None:
        return None
    if slot is None or not slot.slot.plain or slot.parse or slot.trim or slot.strip_prompt:
        return None
    (path,) = slot.slot.paths
    return None if path.on_item or not path.steps else path


def _paths(node: Node) -> Iterator[Path]:
    """The paths of all rules on answers, but for those of the text itself."""
    own = [found for steps in _TEXTS for found in _at(node, steps)]
    for looked_at in [found for steps in _LOOKED_AT for found in _at(node, steps)]:
        for below in looked_at.walk():
            if isinstance(below.value, dict):
                yield from (compile_path(str(key)) for key in below.value if is_path(key))
            elif is_path(below.value) and not any(below is one for one in own):
                yield compile_path(below.value)


def _at(node: Node, steps: tuple[str, ...]) -> list[Node]:
    """The node at the end of these steps, if there is one."""
    for step in steps:
        if not isinstance(node.value, dict) or step not in node.value:
            return []
        node = node.value[step]
    return [node]


def _apart(one: Path, other: Path) -> bool:
    """Whether two paths lead to values of which neither holds the other."""
    if one.head is None or other.head is None or other.on_item:
        return False
    if other.steps is None:
        return one.head != other.head
    for mine, theirs in zip(one.steps or (), other.steps, strict=False):
        if isinstance(mine, int) and isinstance(theirs, int):
            if mine != theirs and min(mine, theirs) >= 0:
                return True
        elif mine != theirs:
            return True
    return False


_OPENAIS = compile_path("$.choices[0].delta.content")
