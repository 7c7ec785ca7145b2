"""Compiles how requests are made: URLs, headers, queries, keys and bodies."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from bridge.errors import RequestError
from bridge.routes.bodies import AsIs, Built, Edited
from bridge.routes.route import Outgoing
from bridge.routes.shapes import report
from bridge.routes.spec.requests import ABSENT
from bridge.rules.builder import Builder, compile_text
from bridge.rules.scope import Faults
from bridge.templating import PathText, is_template

if TYPE_CHECKING:
    from bridge.config.nodes import Node
    from bridge.config.problems import Problems
    from bridge.routes.bodies import BodyRule
    from bridge.routes.spec.requests import CallSpec, RequestSpec
    from bridge.routes.spec.transport import AuthSpec
    from bridge.rules.scope import Scope

__all__ = ["compile_auth", "compile_body_rule", "compile_call", "compile_urls"]

Texts = dict[str, Builder]

_EDITS = ("keep", "drop", "rename", "message_keys", "roles", "fields")


def compile_urls(
    bases: list[tuple[str, Node]], path: str | None, path_node: Node, problems: Problems
) -> tuple[Builder, ...]:
    """The URL at each replica: the base alone, used as it is written, or with a path joined to it."""
    urls = []
    for base, node in bases:
        _check_url(base, node, problems)
        front = _compile(base, node, problems)
        urls.append(front if path is None else _joined(front, _compile(path, path_node, problems)))
    return tuple(urls)


def compile_auth(auth: AuthSpec | str | None, node: Node, problems: Problems) -> tuple[Texts, Texts]:
    """The headers and query parameters that carry the server's key."""
    if auth is None or isinstance(auth, str):
        return {}, {}
    ways = [name for name in ("bearer", "header", "query", "basic") if getattr(auth, name) is not None]
    if len(ways) != 1 or (auth.value is None) is (ways[0] in ("header", "query")):
        problems.add(
            node.place,
            node.path,
            "this is no way to show a key",
            expected="one of {bearer}, {header, value}, {query, value}, {basic: {user, password}} or client",
        )
        return {}, {}
    if auth.bearer is not None:
        return {"Authorization": _constant(f"Bearer {auth.bearer}")}, {}
    if auth.basic is not None:
        pair = f"{auth.basic.user}:{auth.basic.password}".encode()
        return {"Authorization": _constant(f"Basic {b64encode(pair).decode()}")}, {}
    key = _constant(str(auth.value))
    return ({auth.header: key}, {}) if auth.header is not None else ({}, {str(auth.query): key})


def compile_body_rule(spec: RequestSpec | None, node: Node, problems: Problems) -> BodyRule:
    """How the body is made from the client's."""
    if spec is None:
        return AsIs()
    edits = [name for name in _EDITS if getattr(spec, name) or (name == "keep" and spec.keep is not None)]
    if spec.body is not ABSENT:
        if edits:
            at = node.find((edits[0],))
            problems.add(
                at.key_place or at.place,
                at.path,
                f"`{edits[0]}` beside `body`",
                expected="edits of the client's body, or a `body` built from nothing",
            )
        return Built(spec.body)
    if not edits:
        return AsIs()
    return Edited(
        keep=None if spec.keep is None else frozenset(spec.keep),
        drop=frozenset(spec.drop),
        rename=spec.rename or {},
        message_keys=spec.message_keys or {},
        roles=spec.roles or {},
        fields=spec.fields,
        sets=frozenset(_members(node, "fields") | _members(node, "customFields")),
    )


def compile_call(call: CallSpec, bases: list[tuple[str, Node]], node: Node, problems: Problems) -> Outgoing:
    """A call beside the route's own request."""
    if (call.url is None) is (call.path is None):
        problems.add(node.place, node.path, "where does this call go?", expected="either `url` or `path`")
    urls = compile_urls([(call.url, node)] if call.url else bases, call.path, node, problems)
    body = None if call.body is ABSENT else Built(call.body)
    method = call.method or ("POST" if body else "GET")
    return Outgoing(method, urls, call.headers or {}, call.query or {}, body)


def _members(node: Node, name: str) -> set[str]:
    """The names in a mapping below, where there is one."""
    below = node.value.get(name)
    return {str(key) for key in below.value} if below and isinstance(below.value, dict) else set()


def _constant(text: str) -> Builder:
    return Builder(lambda scope: text, set(), set())


def _compile(text: str, node: Node, problems: Problems) -> Builder:
    faults = Faults()
    builder = compile_text(text, faults, _percent_encoded)
    report(faults, node, problems)
    return builder


def _joined(front: Builder, path: Builder) -> Builder:
    def build(scope: Scope) -> str:
        return str(front(scope)).rstrip("/") + "/" + str(path(scope)).lstrip("/")

    return Builder(build, set(front.reads | path.reads), set())


def _check_url(url: str, node: Node, problems: Problems) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.netloc)
    except ValueError:
        good = False
    if not good and not (is_template(url) and url.startswith(("http://", "https://"))):
        problems.add(
            node.place, node.path, f"`{url}` is no URL", expected="http://HOST:PORT/PATH or https://…"
        )


def _percent_encoded(value: Any) -> str:
    """A value inside a URL: it must not become other parts of it."""
    text = "" if value is None else str(value)
    if any(segment in (".", "..") for segment in text.split("/")):
        raise RequestError(400, f"`{text}` cannot be part of a URL", param="model", code="invalid_value")
    return quote(text, safe="/:@" if isinstance(value, PathText) else "", errors="replace")
