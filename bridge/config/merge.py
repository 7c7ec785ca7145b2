"""The merge of two trees, by which a route extends a preset."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.config.yaml_tree import Node

__all__ = ["deep_merge"]


def deep_merge(base: Node, top: Node) -> Node:
    """Return `top` with the members of `base` that `top` lacks; lists and scalars are replaced as a whole."""
    if not isinstance(base.value, dict) or not isinstance(top.value, dict):
        return top
    merged = dict(base.value)
    for name, node in top.value.items():
        merged[name] = deep_merge(merged[name], node) if name in merged else node
    return replace(top, value=merged)
