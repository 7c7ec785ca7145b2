"""The merge of a route over its preset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.config.interpolation import interpolate
from bridge.config.merge import deep_merge
from bridge.config.records import Record
from bridge.config.yaml_tree import parse
from bridge.routes.spec import ROUTE
from bridge.routes.spec.auth import AuthSpec

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.compile.environment import LoadEnvironment

__all__ = ["apply_preset"]


def apply_preset(node: Node, environment: LoadEnvironment, problems: Problems) -> Node:
    """Return a route merged over the preset that it names; a route without a valid preset as it is."""
    preset = node.value.get("preset") if isinstance(node.value, dict) else None
    if preset is None or not isinstance(preset.value, str):
        return node
    text = environment.presets.get(preset.value)
    if text is None:
        problems.add(
            preset.location,
            preset.path,
            f"unknown preset `{preset.value}`",
            known=environment.presets or ["none is shipped"],
            word=preset.value,
        )
        return node
    base = parse(text, f"preset {preset.value}", problems)
    if base is None:
        return node
    # The samples hold for the preset itself; a route may change the preset so that they do not.
    base.value.pop("samples", None)
    _check_auth(base, node, preset, problems)
    interpolate(base, environment.variables, environment.read_file, problems)
    return deep_merge(ROUTE.canonical(base), ROUTE.canonical(node))


def _check_auth(base: Node, node: Node, preset: Node, problems: Problems) -> None:
    """Add a problem if a preset requires a key that the route lacks.

    A preset contains the way to authenticate without the key. The route adds the key, or has another way,
    which replaces the preset's.
    """
    way, own = base.value.get("auth"), node.value.get("auth")
    if way is None:
        return
    added = own.value.keys() if own is not None and isinstance(own.value, dict) else None
    if added == way.value.keys() or (added == {"value"} and way.value.keys() <= {"header", "query"}):
        return
    del base.value["auth"]
    if own is None:
        problems.add(
            preset.location,
            preset.path,
            f"the preset `{preset.value}` requires a key",
            expected=f"the key, such as auth: {_example(next(iter(way.value)))}",
        )


def _example(kind: str) -> str:
    """Return an example of what a route adds to a preset's `auth` of a kind."""
    option = Record(AuthSpec).options.get(kind)
    example = option.example if option else ""
    return f"{{{kind}: {example}}}" if example else '{value: "${KEY}"}'
