"""Compilation of `auth`.

{bearer: …} {header: …, value: …} {basic: …}  ─▶  headers and query parameters that never change
{oauth2: …} {jwt: …} {hmac: …} {aws: …}       ─▶  a rule of `rules/auth_rules`, by `compile/dynamic_auth`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.config.secrets import basic_pair
from bridge.expressions.templates import ValueTemplate
from bridge.routes.compile.dynamic_auth import DYNAMIC

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.compile.environment import LoadEnvironment
    from bridge.routes.rules.auth_rules import DynamicAuth
    from bridge.routes.rules.proxies import EnvironmentProxies
    from bridge.routes.spec.auth import AuthSpec

__all__ = ["compile_dynamic_auth", "compile_static_auth"]

Templates = dict[str, ValueTemplate]

_STATIC = ("bearer", "header", "query", "basic")


def compile_static_auth(
    auth: AuthSpec | str | None, node: Node, problems: Problems
) -> tuple[Templates, Templates]:
    """Return the headers and the query parameters that carry a key of the file."""
    if auth is None or isinstance(auth, str):
        return {}, {}
    if not _has_one_kind(auth):
        expected = "one of {bearer}, {header, value}, {query, value}, {basic: {user, password}}, "
        kinds = ", ".join(f"{{{name}: …}}" for name in DYNAMIC)
        problems.add(
            node.location,
            node.path,
            "not a valid way to authenticate",
            expected=f"{expected}{kinds} or client",
        )
        return {}, {}
    if auth.bearer is not None:
        return {"Authorization": _constant(f"Bearer {auth.bearer}")}, {}
    if auth.basic is not None:
        pair = basic_pair(auth.basic.user, auth.basic.password)
        return {"Authorization": _constant(f"Basic {pair}")}, {}
    if auth.value is None:
        return {}, {}
    key = _constant(str(auth.value))
    return ({auth.header: key}, {}) if auth.header is not None else ({}, {str(auth.query): key})


def compile_dynamic_auth(
    auth: AuthSpec | str | None,
    node: Node,
    environment: LoadEnvironment,
    problems: Problems,
    *,
    proxy: str | EnvironmentProxies | None,
) -> DynamicAuth | None:
    """Return the rule of a credential that the bridge makes; None without such a rule.

    `proxy` is the proxy of the route's upstream.
    """
    if auth is None or isinstance(auth, str):
        return None
    for name, compiler in DYNAMIC.items():
        spec = getattr(auth, name)
        if spec is not None:
            return compiler(node.find((name,)), environment, problems, proxy).compile(spec)
    return None


def _has_one_kind(auth: AuthSpec) -> bool:
    """Return whether exactly one kind is declared, with a `value` if and only if the kind requires one."""
    kinds = [name for name in (*_STATIC, *DYNAMIC) if getattr(auth, name) is not None]
    return len(kinds) == 1 and (auth.value is not None) is (kinds[0] in ("header", "query"))


def _constant(text: str) -> ValueTemplate:
    return ValueTemplate(lambda scope: text, set(), set(), literal=True)
