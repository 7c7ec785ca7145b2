"""The links from routes to their fallbacks (`fallback`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.rules.route import Route

__all__ = ["check_fallbacks", "link_fallbacks"]


def check_fallbacks(routes: Sequence[tuple[Route, Node]], problems: Problems) -> None:
    """Add a problem for each fallback that is unknown, leads in a circle, or cannot replace its route."""
    by_name = {route.name: route for route, _ in routes}
    for route, node in routes:
        if route.fallback_name is None:
            continue
        at = node.find(("fallback",))
        fallback = by_name.get(route.fallback_name)
        if fallback is None:
            message = f"no route is called `{route.fallback_name}`"
            problems.add(at.location, at.path, message, known=by_name, word=route.fallback_name)
        elif _leads_to_itself(route, by_name):
            message = f"the fallbacks of `{route.name}` lead back to `{route.name}`"
            problems.add(at.location, at.path, message, expected="a route without such a fallback")
        elif missing := sorted(route.serves - fallback.serves):
            message = f"the route `{fallback.name}` does not serve {', '.join(missing)}"
            problems.add(at.location, at.path, message, expected="a route that serves the same endpoints")
        elif fallback.request.forwards_client_key and not route.request.forwards_client_key:
            message = f"the route `{fallback.name}` forwards the client's key, this route does not"
            problems.add(at.location, at.path, message, expected="a route without `auth: client`")


def link_fallbacks(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Return the routes, each with its fallback, after `check_fallbacks` has found no problem."""
    by_name = {route.name: route for route in routes}
    linked: dict[str, Route] = {}

    def link(route: Route) -> Route:
        if route.fallback_name is None:
            return route
        if route.name not in linked:
            linked[route.name] = replace(route, fallback=link(by_name[route.fallback_name]))
        return linked[route.name]

    return tuple(map(link, routes))


def _leads_to_itself(route: Route, by_name: dict[str, Route]) -> bool:
    seen: set[str] = set()
    current: Route | None = route
    while current is not None and current.fallback_name is not None and current.name not in seen:
        seen.add(current.name)
        current = by_name.get(current.fallback_name)
        if current is route:
            return True
    return False
