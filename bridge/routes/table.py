"""The route table: from the text of a file to its routes, and from a model's name to its route."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import translate
from typing import TYPE_CHECKING

from bridge.config.interpolation import interpolate
from bridge.config.problems import Problems
from bridge.config.secrets import external_texts, secret_texts
from bridge.config.value_types import INVALID
from bridge.config.yaml_tree import parse
from bridge.core.errors import ConfigError, RequestError
from bridge.routes.compile.names import check_names, check_reads
from bridge.routes.compile.presets import apply_preset
from bridge.routes.compile.route import compile_route
from bridge.routes.fallbacks import check_fallbacks, link_fallbacks
from bridge.routes.route_warnings import warn_of_route
from bridge.routes.spec import ABSENT, FILE, ROUTE, ServerSpec
from bridge.routes.table_warnings import is_glob, warn_of_loops, warn_of_models, warn_of_server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.config.problems import Problem
    from bridge.config.yaml_tree import Node
    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.routes.compile.environment import LoadEnvironment
    from bridge.routes.rules.route import Route
    from bridge.routes.spec import RouteSpec

__all__ = ["RouteTable", "load"]

_MAX_CACHED = 1000  # pairs of model and endpoint; clients may request any number of models that match a glob
_MAX_CACHED_NAME = 256  # characters of a model name


class RouteTable:
    """The routes of a file, in the file's order."""

    __slots__ = (
        "_cache",  # routes and their names, by model and endpoint
        "_exact",  # routes by the exact names of their models
        "_globs",
        "max_body",  # bytes of the largest request body that any route accepts
        "max_values",  # JSON values of the largest request body that any route accepts
        "routes",
        "server",
        "warnings",  # what is valid, but has probably another effect than intended
    )

    def __init__(
        self, routes: tuple[Route, ...], server: ServerSpec, warnings: Sequence[Problem] = ()
    ) -> None:
        self.routes = routes
        self.server = server
        self.warnings = tuple(warnings)
        self._exact: dict[str, list[Route]] = {}
        self._globs: list[tuple[re.Pattern[str], str, Route]] = []
        self._cache: dict[tuple[str, str], tuple[Route, str]] = {}
        self.max_body = max((route.limits.body for route in routes), default=0)
        self.max_values = max((route.limits.values for route in routes), default=0)
        for route in routes:
            for model in route.models:
                if is_glob(model):
                    self._globs.append((re.compile(translate(model)), model, route))
                else:
                    self._exact.setdefault(model, []).append(route)

    @property
    def models(self) -> list[str]:
        """Return the names of models that the file contains, each once, in the file's order."""
        return self.listed({})

    @property
    def has_model_sources(self) -> bool:
        """Return whether an upstream is to be requested for its list of models."""
        return any(route.model_list.request is not None for route in self.routes)

    def listed(self, received: Mapping[str, Sequence[str]]) -> list[str]:
        """Return the names of models in the file, and of received lists those that their routes serve.

        `received` has the lists by the names of routes.
        """
        names: dict[str, None] = {}
        for route in self.routes:
            names.update(dict.fromkeys(model for model in route.models if not is_glob(model)))
            names.update(dict.fromkeys(route.model_list.names))
            for name in received.get(route.name, ()):
                if any(candidate is route for candidate, _ in self._candidates(name)):
                    names[name] = None
        return list(names)

    def serves(self, model: str) -> bool:
        """Return whether a route serves a model at any endpoint."""
        return bool(self._candidates(model))

    def find(self, model: str, endpoint: EndpointSpec) -> tuple[Route, str]:
        """Return the route for a model, and the name or glob that matched.

        Exact names have precedence over globs; then the file's order decides. Raises RequestError (404) if no
        route matches.
        """
        cached = self._cache.get((model, endpoint.name))
        if cached is not None:
            return cached
        candidates = self._candidates(model)
        for route, name in candidates:
            if endpoint.name in route.serves:
                if len(self._cache) >= _MAX_CACHED:
                    self._cache.clear()
                if len(model) <= _MAX_CACHED_NAME:
                    self._cache[model, endpoint.name] = route, name
                return route, name
        problem = f"does not serve {endpoint.path}" if candidates else "does not exist"
        raise RequestError(404, f"the model `{model}` {problem}", param="model", code="model_not_found")

    def _candidates(self, model: str) -> list[tuple[Route, str]]:
        """Return the routes whose models contain or match a name, in order of precedence."""
        exact = [(route, model) for route in self._exact.get(model, ())]
        return exact + [(route, glob) for pattern, glob, route in self._globs if pattern.match(model)]


def load(text: str, name: str, environment: LoadEnvironment) -> RouteTable:
    """Return the table of a routes file. Raises ConfigError with every problem of the file."""
    problems = Problems()
    tree = parse(text, name, problems)
    if tree is None:
        raise ConfigError(problems)
    interpolate(tree, environment.variables, environment.read_file, problems)
    file = FILE.check(tree, problems)
    problems.mask(tuple(secret_texts(tree)), 0)
    # Routes are checked even if the rest of the file is invalid, to report every problem at once.
    nodes = _route_nodes(tree) if file is INVALID else file.routes
    routes = _check_routes(nodes, environment, problems)
    compiled = [(route, node) for route, node in routes if route is not None]
    if file is not INVALID:
        warn_of_server(file.server, tree, problems)
        warn_of_loops(file.server, compiled, problems)
    warn_of_models(compiled, problems)
    if len(compiled) == len(routes):  # otherwise a fallback may be a route that has problems
        check_fallbacks(compiled, problems)
    problems.mask_at(external_texts(tree))
    if problems:
        raise ConfigError(problems.sorted(), problems.sorted_warnings())
    server = ServerSpec() if file is INVALID else file.server  # invalid for a placeholder only
    return RouteTable(link_fallbacks([route for route, _ in compiled]), server, problems.sorted_warnings())


def _route_nodes(tree: Node) -> list[Node]:
    """Return the nodes of the routes in an invalid file."""
    nodes = tree.find(("routes",)).value
    return [node for node in nodes if isinstance(node.value, dict)] if isinstance(nodes, list) else []


def _check_routes(
    nodes: Sequence[Node], environment: LoadEnvironment, problems: Problems
) -> list[tuple[Route | None, Node]]:
    """Return the routes with their nodes; None for a route with problems."""
    routes: list[tuple[Route | None, Node]] = []
    names: set[str] = set()
    for own in nodes:
        node = apply_preset(own, environment, problems)
        route = _check_route(node, environment, problems)
        if route is not None:
            if route.name in names:
                at = node.find(("name",))
                message = f"duplicate route name `{route.name}`"
                problems.add(at.location, at.path, message, expected="a unique `name`")
            names.add(route.name)
        routes.append((route, node))
    return routes


def _check_route(node: Node, environment: LoadEnvironment, problems: Problems) -> Route | None:
    """Return the route of a node; None if problems were added. Their messages contain no secret."""
    before, names_before = len(problems), len(problems.names_read)
    spec = ROUTE.check(node, problems)
    if spec is INVALID:
        # A member that seems to be missing may be misspelled: only the misspelling is reported.
        problems.suppress(node.location)
        # The valid members are compiled as well, to report every problem at once.
        spec, valid = _valid_subset(node)
        compile_route(spec, valid, environment, problems)
        route = None
    else:
        route = compile_route(spec, node, environment, problems)
        if route is not None:
            if len(problems) == before:
                check_reads(spec, route, node, problems)
            warn_of_route(route, node, problems)
    check_names(node, problems.names_read[names_before:], problems)
    if len(problems) > before:
        problems.mask(tuple(secret_texts(node)), before)
        return None
    return route


def _valid_subset(node: Node) -> tuple[RouteSpec, Node]:
    """Return the spec of a route's valid members, and their node."""
    spec, valid = ROUTE.read_valid(node, models=("any",))
    if "stream" in node.value and "stream" not in valid.value:
        spec = replace(spec, response=ABSENT)  # `response: false` is a problem only without a stream
    return spec, valid
