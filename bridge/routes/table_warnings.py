"""Warnings about a file as a whole: models that no request reaches, and an API that is open to everybody."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from itertools import product
from typing import TYPE_CHECKING

from bridge.core.addresses import is_local
from bridge.core.strings import Interpolated, is_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.rules.route import Route
    from bridge.routes.spec import ServerSpec

__all__ = [
    "is_glob",
    "upstream_nodes",
    "warn_of_literal_secret",
    "warn_of_loops",
    "warn_of_models",
    "warn_of_server",
]

_MIN_SECRET = 8  # characters; a shorter literal is a placeholder, such as `none`
_FRESH = ("", "\ue000", "\ue000\ue001")  # texts that no pattern contains, in place of each `*`
_REGULAR = re.compile(r"^\^|\$$|(^|[-_/:])\.\*|\\|\|")
_LOCAL = re.compile(r"\w+://(127\.0\.0\.1|localhost|\[::1\]):(?P<port>\d+)")
_MAX_COMPARED = 64  # earlier models that a model is compared with
_MAX_STARS = 4  # of a pattern that is compared; the comparisons are a power of them


def is_glob(model: str) -> bool:
    """Return whether a model is a pattern instead of a name."""
    return any(character in model for character in "*?[")


def warn_of_models(routes: Sequence[tuple[Route, Node]], problems: Problems) -> None:
    """Warn of each model that earlier models leave no request for."""
    names: dict[str, list[tuple[str, Route]]] = {}  # earlier exact names, each with its routes
    globs: list[tuple[str, Route]] = []  # the first of the earlier patterns
    fallbacks = {route.fallback_name for route, _ in routes}
    for route, node in routes:
        _warn_of_patterns(route, node, problems)
        if route.name in fallbacks:
            continue  # it serves requests that other routes cannot
        for model, at in _models(node):
            same = names.setdefault(model, [])
            earlier = [each for each in globs if _covers(each[0], model)] if is_glob(model) else same
            endpoints = set(route.serves)
            for name, other in earlier:
                endpoints -= other.serves
                if not endpoints:
                    problems.warn(at.location, at.path, _unreachable(model, name, route, other))
                    break
            if is_glob(model) and len(globs) < _MAX_COMPARED:
                globs.append((model, route))
            elif len(same) < _MAX_COMPARED:
                same.append((model, route))


def _warn_of_patterns(route: Route, node: Node, problems: Problems) -> None:
    """Warn of a regular expression, and of a route for all models, of which clients see none."""
    for model, at in _models(node):
        if _REGULAR.search(model):
            glob = re.sub(r"^\^|\$$", "", model).replace(".*", "*")
            problems.warn(at.location, at.path, f"`{model}` is a glob, not a regular expression", match=glob)
        if model == "*" and not route.model_list.names and route.model_list.request is None:
            problems.warn(
                at.location,
                at.path,
                "the models of `*` are not listed at /v1/models",
                expected="`lists: [NAME, …]`, or `models_from: /v1/models` if the upstream lists its models",
            )


def _models(node: Node) -> Iterator[tuple[str, Node]]:
    at = node.find(("models",))
    for each in at.value if isinstance(at.value, list) else [at]:
        yield str(each.value), each


def _unreachable(model: str, name: str, route: Route, other: Route) -> str:
    if other is route:
        return f"`{model}` never matches: `{name}` of the same route matches first"
    if is_glob(model):
        return f"`{model}` never matches: `{name}` of the route `{other.name}` is before it"
    return f"`{model}` never reaches this route: the route `{other.name}` has the same model"


def _covers(glob: str, model: str) -> bool:
    """Return whether each name that a pattern `model` matches is matched by another pattern."""
    if "[" in model or model.count("*") > _MAX_STARS:
        return glob in (model, "*")
    parts = model.replace("?", "\ue002").split("*")
    names = (
        "".join(part + filled for part, filled in zip(parts, (*filling, ""), strict=True))
        for filling in product(_FRESH, repeat=len(parts) - 1)
    )
    return all(fnmatchcase(name, glob) for name in names)


def warn_of_server(server: ServerSpec, node: Node, problems: Problems) -> None:
    """Warn of an API that every machine of the network may use, and of keys in the file."""
    at = node.find(("server", "listen"))
    open_addresses = [text for text in server.listen if not is_local(text)]
    if open_addresses and not server.keys:
        problems.warn(
            at.location,
            at.path,
            f"`{open_addresses[0]}` accepts clients of other machines, and no key is required",
            expected="`server.keys`, or an address of this machine, such as 127.0.0.1:8080",
        )
    if (keys := node.get("server", "keys")) is not None:
        for key in keys.walk():
            warn_of_literal_secret(key, problems)


def warn_of_loops(server: ServerSpec, routes: Sequence[tuple[Route, Node]], problems: Problems) -> None:
    """Warn of an upstream that is the bridge itself."""
    ports = {text.strip().rpartition(":")[2] for addresses in server.listen for text in addresses.split(",")}
    for _, node in routes:
        for base in upstream_nodes(node):
            match = _LOCAL.match(str(base.value))
            if match and match["port"] in ports:
                problems.warn(
                    base.location,
                    base.path,
                    f"the bridge itself listens on port {match['port']}",
                    expected="the address of the model server, or another `server.listen`",
                )


def warn_of_literal_secret(node: Node, problems: Problems) -> None:
    """Warn of a secret that is written in the file, or that looks like a variable and is not."""
    text = node.value
    if not isinstance(text, str) or node.secret is not True or is_template(text):
        return
    if not isinstance(text, Interpolated) and (match := re.fullmatch(r"\$\(?(\w+)\)?|%(\w+)%", text)):
        name = match[1] or match[2]
        message = "the value is literal text, not an environment variable"
        problems.warn(node.location, node.path, message, expected=f"${{{name}}}")
    elif not isinstance(text, Interpolated) and len(text) >= _MIN_SECRET:
        problems.warn(
            node.location,
            node.path,
            "the secret is written in the file",
            expected="an environment variable or a file: ${NAME} or ${file:/run/secrets/name}",
        )


def upstream_nodes(node: Node) -> Iterator[Node]:
    """Yield the nodes of the upstream's URLs."""
    upstream = node.value.get("upstream")
    if upstream is None:
        return
    if isinstance(upstream.value, str):
        yield upstream
        return
    for at in (upstream.get("url"), upstream.get("replicas")):
        yield from (each for each in (at.walk() if at else ()) if isinstance(each.value, str))
