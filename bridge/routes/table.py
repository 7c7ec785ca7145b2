"""The table of routes: a file's text to routes, and a model's name to its route."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import translate
from typing import TYPE_CHECKING

from bridge.config.interpolation import interpolate
from bridge.config.merge import deep_merge
from bridge.config.problems import Problems
from bridge.config.records import Record
from bridge.config.secrets import secret_texts
from bridge.config.value_types import INVALID
from bridge.config.yaml_tree import Node, parse
from bridge.core.errors import ConfigError, RequestError
from bridge.routes.compile.route import compile_route
from bridge.routes.spec import ABSENT, FILE, ROUTE
from bridge.routes.spec.auth import AuthSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.routes.compile.environment import LoadEnvironment
    from bridge.routes.rules.route import Route
    from bridge.routes.spec import RouteSpec, ServerSpec

__all__ = ["RouteTable", "load"]


class RouteTable:
    """The routes of a file, in its order.

    `bearers` are the headers that let clients in. No route takes a body of more than `largest_body` bytes.
    """

    __slots__ = ("_cache", "_exact", "_globs", "authorizations", "max_body", "routes", "server")

    def __init__(self, routes: tuple[Route, ...], server: ServerSpec) -> None:
        self.routes = routes
        self.server = server
        self._exact: dict[str, list[Route]] = {}
        self._globs: list[tuple[re.Pattern[str], str, Route]] = []
        self._cache: dict[tuple[str, str], tuple[Route, str]] = {}
        self.authorizations = tuple(b"Bearer " + key.encode() for key in server.keys)
        self.max_body = max(route.limits.body for route in routes)
        for route in routes:
            for model in route.models:
                if _is_glob(model):
                    self._globs.append((re.compile(translate(model)), model, route))
                else:
                    self._exact.setdefault(model, []).append(route)

    @property
    def models(self) -> list[str]:
        """The models that can be named, each once, in the file's order; globs cannot."""
        return list(self._exact)

    def serves(self, model: str) -> bool:
        """Whether some route answers for the model."""
        return bool(self._candidates(model))

    def find(self, model: str, endpoint: EndpointSpec) -> tuple[Route, str]:
        """The route for a model, and the name or glob by which it was found.

        Exact names win over globs, then the file's order. Raises RequestError (404) where there is none.
        """
        found = self._cache.get((model, endpoint.name))
        if found is not None:
            return found
        candidates = self._candidates(model)
        for route, name in candidates:
            if endpoint.name in route.serves:
                if len(self._cache) >= _MAX_CACHED:
                    self._cache.clear()
                self._cache[model, endpoint.name] = route, name
                return route, name
        if candidates:
            raise RequestError(
                404,
                f"the model `{model}` does not serve {endpoint.path}",
                param="model",
                code="model_not_found",
            )
        raise RequestError(404, f"the model `{model}` does not exist", param="model", code="model_not_found")

    def _candidates(self, model: str) -> list[tuple[Route, str]]:
        exact = [(route, model) for route in self._exact.get(model, ())]
        return exact + [(route, glob) for pattern, glob, route in self._globs if pattern.match(model)]


def load(text: str, name: str, environment: LoadEnvironment) -> RouteTable:
    """Read a file of routes. Raises ConfigError with every problem in it."""
    problems = Problems()
    tree = parse(text, name, problems)
    if tree is None:
        raise ConfigError(problems)
    interpolate(tree, environment.variables, environment.read_file, problems)
    file = FILE.check(tree, problems)
    problems.mask(tuple(secret_texts(tree)), 0)
    if file is INVALID:
        _check_routes(_listed(tree), environment, problems)
        raise ConfigError(problems.sorted())
    routes = _check_routes(file.routes, environment, problems)
    if problems:
        raise ConfigError(problems.sorted())
    return RouteTable(tuple(route for route in routes if route), file.server)


def _listed(tree: Node) -> list[Node]:
    """The routes of a file that is wrong elsewhere: their problems are told too."""
    listed = tree.find(("routes",)).value
    return [node for node in listed if isinstance(node.value, dict)] if isinstance(listed, list) else []


def _check_routes(
    listed: Sequence[Node], environment: LoadEnvironment, problems: Problems
) -> list[Route | None]:
    routes: list[Route | None] = []
    seen: set[str] = set()
    for below in listed:
        node = _apply_preset(below, environment, problems)
        route = _check_route(node, environment, problems)
        if route is not None and route.name in seen:
            at = node.find(("name",))
            problems.add(
                at.location, at.path, f"there are two routes named `{route.name}`", expected="a unique `name`"
            )
        seen.add(route.name if route else "")
        routes.append(route)
    return routes


def _check_route(node: Node, environment: LoadEnvironment, problems: Problems) -> Route | None:
    """Return the route of a node; None if problems were added, with no secret in their messages."""
    before = len(problems)
    spec = ROUTE.check(node, problems)
    if spec is INVALID:
        # A member that is missing may only have been misspelled, so nothing missing is reported here.
        problems.suppress(node.location)
        # The valid members are compiled all the same, to report every fault of the file at once.
        spec, valid = _valid_subset(node)
        compile_route(spec, valid, environment, problems)
        route = None
    else:
        route = compile_route(spec, node, environment, problems)
    if len(problems) > before:
        problems.mask(tuple(secret_texts(node)), before)
    return route


def _valid_subset(node: Node) -> tuple[RouteSpec, Node]:
    """Return the spec of a route's valid members alone, and their node."""
    spec, valid = ROUTE.read_valid(node, models=("any",))
    if "stream" in node.value and "stream" not in valid.value:
        spec = replace(spec, response=ABSENT)  # `response: false` is a fault only without a stream
    return spec, valid


def _apply_preset(node: Node, environment: LoadEnvironment, problems: Problems) -> Node:
    named = node.value.get("preset") if isinstance(node.value, dict) else None
    if named is None or not isinstance(named.value, str):
        return node
    text = environment.presets.get(named.value)
    if text is None:
        problems.add(
            named.location,
            named.path,
            f"there is no preset `{named.value}`",
            known=environment.presets or ["none is shipped"],
            word=named.value,
        )
        return node
    base = parse(text, f"preset {named.value}", problems)
    if base is None:
        return node
    # Its examples are of the preset as it stands: what a route changes in it need not agree with them.
    base.value.pop("samples", None)
    _check_preset_auth(base, node, named, problems)
    interpolate(base, environment.variables, environment.read_file, problems)
    return deep_merge(ROUTE.canonical(base), ROUTE.canonical(node))


def _check_preset_auth(base: Node, node: Node, named: Node, problems: Problems) -> None:
    """A preset may say how the key is shown, never the key: the route adds it, or has a way of its own."""
    way, own = base.value.get("auth"), node.value.get("auth")
    if way is None:
        return
    added = own.value.keys() if own is not None and isinstance(own.value, dict) else None
    if added == way.value.keys() or (added == {"value"} and way.value.keys() <= {"header", "query"}):
        return
    del base.value["auth"]
    if own is None:
        problems.add(
            named.location,
            named.path,
            f"the server of `{named.value}` wants a key",
            expected=f"the key, such as auth: {_example(next(iter(way.value)))}",
        )


_MAX_CACHED = 1000  # models that are remembered; globs know no end of them


def _is_glob(model: str) -> bool:
    return any(character in model for character in "*?[")


def _example(kind: str) -> str:
    """Return an example of what a route adds to a preset's `auth` of a kind."""
    option = Record(AuthSpec).options.get(kind)
    example = option.example if option else ""
    return f"{{{kind}: {example}}}" if example else '{value: "${KEY}"}'
