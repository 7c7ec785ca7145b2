"""Compilation of `upstream.proxy`: the proxies of the environment are read when the file is loaded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.routes.rules.proxies import Bypass, EnvironmentProxies
from bridge.routes.rules.transport import PROXY_URL

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.compile.environment import LoadEnvironment

__all__ = ["compile_proxy"]


def compile_proxy(
    text: str | EnvironmentProxies | None, node: Node, environment: LoadEnvironment, problems: Problems
) -> str | EnvironmentProxies | None:
    """Return the setting of a proxy, which is checked already: a URL, the environment's proxies, or none."""
    if text != "environment":
        return None if text in (None, "", "none") else text
    variables = environment.variables or {}
    urls: dict[str, str | None] = {}
    for scheme in ("http", "https"):
        # curl reads the lower-case names first, and of HTTP_PROXY only those.
        names = [f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"]
        name = next((name for name in names if variables.get(name)), None)
        urls[scheme] = None if name is None else _proxy_url(name, variables[name], node, problems)
    excepted = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
    bypasses = tuple(Bypass.parse(entry) for entry in re.split(r"[\s,]+", excepted) if entry)
    return EnvironmentProxies(urls["http"], urls["https"], bypasses)


def _proxy_url(name: str, value: str, node: Node, problems: Problems) -> str:
    """Return the URL of a proxy, whose scheme may be missing in a variable."""
    url = value.strip() if "://" in value else f"http://{value.strip()}"
    if re.fullmatch(PROXY_URL, url) is None:
        problems.add(
            node.location,
            node.path,
            f"the environment variable {name} is not the URL of an HTTP proxy",
            expected="http://HOST:PORT or https://HOST:PORT; a SOCKS proxy cannot be used",
        )
    return url
