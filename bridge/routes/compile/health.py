"""Compilation of health checks: their URL at each server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.routes.rules.health import HealthRule

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.spec.upstream import HealthSpec

__all__ = ["compile_health"]

# Scheme, host and port of a URL; user and password are left out, since a check carries no credentials.
_ORIGIN = re.compile(r"(https?|wss?)://(?:[^/?#@]*@)?([^/?#@{}]+)(?=[/?#]|$)")
_MIN_INTERVAL = 0.1  # seconds


def compile_health(
    spec: HealthSpec | None, bases: list[tuple[str, Node]], node: Node, problems: Problems
) -> HealthRule | None:
    """Return the health checks of a route whose servers have the URLs `bases`."""
    if spec is None:
        return None
    urls = []
    for url, _ in bases:
        match = _ORIGIN.match(url)
        if match is None:
            problems.add(
                node.location,
                node.path,
                f"`health` cannot check {url}, whose host is a template",
                expected="URLs with a host",
            )
            return None
        scheme, host = match.groups()
        urls.append(f"{scheme.replace('ws', 'http')}://{host}{spec.path}")
    if spec.every < _MIN_INTERVAL:
        at = node.find(("every",))
        problems.add(at.location, at.path, "the interval is too short", expected=f"at least {_MIN_INTERVAL}s")
    return HealthRule(tuple(urls), spec.every, spec.expect)
