"""Warnings about one route: URLs, keys and settings that probably have another effect than intended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.core.strings import Interpolated
from bridge.routes.compile.rule_warnings import warn_of_rules
from bridge.routes.table_warnings import upstream_nodes, warn_of_literal_secret

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.rules.route import Route

__all__ = ["warn_of_route"]

_WRONG_PORTS = {
    ("http", 443): "https", ("http", 8443): "https", ("https", 80): "http",
    ("ws", 443): "wss", ("ws", 8443): "wss", ("wss", 80): "ws",
}  # fmt: skip
_MANY_SECONDS = 1000  # a timeout of more is rather one in milliseconds
_KEY_HEADERS = {"authorization", "api-key", "x-api-key", "x-goog-api-key"}
_SCHEME = re.compile(r"(?i)(bearer|basic)\s")
_LIKE_VARIABLE = re.compile(r"\$[A-Z][A-Z0-9_]{2,}\b")


def warn_of_route(route: Route, node: Node, problems: Problems) -> None:
    """Warn of what is valid in a route, but has probably another effect than intended."""
    for base in upstream_nodes(node):
        _warn_of_url(str(base.value), base, problems)
        _warn_of_path(route, base, node.get("path"), problems)
    if (auth := node.get("auth")) is not None:
        _warn_of_auth(auth, problems)
    _warn_of_headers(node, problems)
    _warn_of_tls(node, problems)
    _warn_of_settings(route, node, problems)
    _warn_of_numbers(node, problems)
    warn_of_rules(route, node, problems)


def _warn_of_url(url: str, node: Node, problems: Problems) -> None:
    parts = urlsplit(url) if "{" not in url else None
    other = parts and _WRONG_PORTS.get((parts.scheme, parts.port or 0))
    if parts and other:
        problems.warn(
            node.location,
            node.path,
            f"port {parts.port} usually serves {other}, not {parts.scheme}",
            expected=f"{other}://{parts.hostname}:{parts.port}",
        )


def _warn_of_path(route: Route, base: Node, path: Node | None, problems: Problems) -> None:
    """Warn of a path that contains a part twice, and of a base URL to which nothing is joined."""
    own = re.sub(r"^\w+://[^/?#]*", "", str(base.value)).partition("?")[0]
    joined = own.rstrip("/") + "/" + str(path.value).lstrip("/") if path else own
    if repeated := _repeated_part(joined):
        at = path if path and path.location.source == base.location.source else base
        problems.warn(
            at.location,
            at.path,
            f"the requested path contains `/{repeated}` twice: {joined}",
            expected="the path once, in `upstream` or in `path`",
        )
    elif path is None and route.is_passthrough and re.fullmatch(r"/?|.*/v\d+/?", own):
        problems.warn(
            base.location,
            base.path,
            f"requests are sent to `{own or '/'}`: nothing is joined to the URL of an upstream",
            expected="the whole URL, such as …/v1/chat/completions, or a `path`",
        )


def _repeated_part(path: str) -> str:
    """Return the segments that a path has twice in a row; "" if there are none."""
    segments = [segment for segment in path.split("/") if segment]
    for size in range(len(segments) // 2, 0, -1):
        for start in range(len(segments) - 2 * size + 1):
            part = segments[start : start + size]
            if part == segments[start + size : start + 2 * size] and "{" not in "".join(part):
                return "/".join(part)
    return ""


def _warn_of_auth(auth: Node, problems: Problems) -> None:
    for node in auth.walk():
        warn_of_literal_secret(node, problems)
    bearer = auth.get("bearer")
    if bearer is not None and _SCHEME.match(str(bearer.value)):
        problems.warn(
            bearer.location,
            bearer.path,
            "the key begins with the word that the bridge adds: the upstream gets `Bearer Bearer …`",
            expected="the key alone",
        )


def _warn_of_headers(node: Node, problems: Problems) -> None:
    """Warn of keys in headers, and of texts that look like environment variables."""
    places = [("headers",), ("request", "headers"), ("stream", "headers"), ("query",), ("upstream",)]
    for steps in places:
        at = node.get(*steps)
        for each in at.walk() if at else ():
            text = each.value
            if not isinstance(text, str) or isinstance(text, Interpolated):
                continue
            if found := _LIKE_VARIABLE.search(text):
                problems.warn(
                    each.location,
                    each.path,
                    f"`{found[0]}` is literal text, not an environment variable",
                    expected=f"${{{found[0][1:]}}}",
                )
            elif each.path.rpartition(".")[2].lower() in _KEY_HEADERS and "{{" not in text:
                problems.warn(
                    each.location,
                    each.path,
                    "the secret is written in the file",
                    expected="an environment variable or a file: ${NAME} or ${file:/run/secrets/name}",
                )


def _warn_of_tls(node: Node, problems: Problems) -> None:
    for steps in (("upstream", "tls"), ("auth", "oauth2", "tls")):
        at = node.get(*steps, "verify")
        if at is not None and str(at.value).lower() == "false":
            problems.warn(
                at.location,
                at.path,
                "the upstream's certificate is not verified: any machine between may read the key",
                expected="`tls.ca`, the PEM file of the certificate's issuer",
            )
    tls = node.get("upstream", "tls")
    urls = [str(base.value) for base in upstream_nodes(node)]
    if tls is not None and urls and all(url.startswith(("http://", "ws://")) for url in urls):
        location = tls.key_location or tls.location
        problems.warn(location, tls.path, "`tls` has no effect on a URL without TLS", expected="https://…")


def _warn_of_settings(route: Route, node: Node, problems: Problems) -> None:
    """Warn of settings that have no effect beside the other settings of the route."""
    emulates_batches = route.emulate.batch is not None and "embeddings" not in route.serves
    sends_body = route.request.non_streaming.method != "GET" or route.request.streaming.method != "GET"
    alone = not route.transport.replicas
    pointless = (
        (("upstream", "balance"), alone, "`upstream.replicas`"),
        (("upstream", "evict"), alone, "`upstream.replicas`"),
        (("limits", "queue"), not route.limits.concurrency, "`limits.concurrency`"),
        (("emulate", "batch"), emulates_batches, "`serves: embeddings`"),
        (("request", "body"), not sends_body, "another `upstream.method` than GET"),
    )
    for steps, is_pointless, expected in pointless:
        at = node.get(*steps)
        if is_pointless and at is not None:
            location = at.key_location or at.location
            problems.warn(location, at.path, f"`{steps[-1]}` has no effect here", expected=expected)


def _warn_of_numbers(node: Node, problems: Problems) -> None:
    """Warn of timeouts that are probably meant in milliseconds, and of servers that are listed twice."""
    timeouts = node.get("upstream", "timeouts")
    for each in timeouts.walk() if timeouts else ():
        if isinstance(each.value, int) and each.value >= _MANY_SECONDS:
            message = f"{each.value} is a number of seconds"
            problems.warn(each.location, each.path, message, expected=f"a unit, such as {each.value}ms")
    seen: set[str] = set()
    for base in upstream_nodes(node):
        if str(base.value) in seen:
            problems.warn(base.location, base.path, "the server is listed twice", expected="each server once")
        seen.add(str(base.value))
