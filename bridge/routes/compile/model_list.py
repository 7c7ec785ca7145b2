"""Compilation of `lists` and `models_from`."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bridge.routes.compile.requests import compile_urls
from bridge.routes.rules.model_list import ModelList

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.rules.request_template import RequestTemplate
    from bridge.routes.spec import RouteSpec

__all__ = ["compile_model_list"]

_ORIGIN = re.compile(r"(https?|wss?)(://[^/?#{}]+)(?=[/?#]|$)")


def compile_model_list(
    spec: RouteSpec, bases: list[tuple[str, Node]], template: RequestTemplate, node: Node, problems: Problems
) -> ModelList:
    """Return the models to list of a route, whose requests have the headers and keys of `template`."""
    names = spec.lists or ()
    for number, name in enumerate(names):
        if not any(fnmatchcase(name, model) for model in spec.models):
            at = node.find(("lists", number) if len(names) > 1 else ("lists",))
            expected = "a name that `models` has or matches"
            problems.add(at.location, at.path, f"the route does not serve `{name}`", expected=expected)
    if spec.models_from is None:
        return ModelList(names)
    at = node.find(("models_from",))
    url = spec.models_from
    if url.startswith("/"):
        origin = _ORIGIN.match(bases[0][0]) if bases else None
        if origin is None:
            message = "the upstream has no fixed host to which the path could be joined"
            problems.add(at.location, at.path, message, expected="a whole URL")
            return ModelList(names)
        url = f"{origin[1].replace('ws', 'http')}{origin[2]}{url}"
    urls = compile_urls([(url, at)], None, at, problems)
    request = replace(template, method="GET", urls=urls, body=None, websocket_limit=None)
    return ModelList(names, request)
