"""Compiles how requests are made: where they go, whom to trust there, and their bodies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from bridge.core.errors import RequestError
from bridge.core.strings import PathText, is_template
from bridge.expressions.scope import RuleErrors
from bridge.expressions.templates import ValueTemplate, compile_text
from bridge.routes.rules.body_rules import EditedBody, TemplateBody, UnchangedBody
from bridge.routes.rules.settings import ABSENT
from bridge.routes.spec.value_types import add_problems

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.expressions.scope import Scope
    from bridge.routes.compile.environment import LoadEnvironment
    from bridge.routes.rules.body_rules import BodyRule
    from bridge.routes.rules.settings import TLSSpec
    from bridge.routes.spec.requests import RequestSpec

__all__ = ["compile_body", "compile_tls", "compile_url", "compile_urls"]

_EDITS = ("keep", "drop", "rename", "message_keys", "roles", "fields")


def compile_urls(
    bases: list[tuple[str, Node]],
    path: str | None,
    path_node: Node,
    problems: Problems,
    schemes: tuple[str, ...] = ("http", "https"),
) -> tuple[ValueTemplate, ...]:
    """The URL at each replica: the base alone, used as it is written, or with a path joined to it."""
    urls = []
    for base, node in bases:
        _check_url(base, node, problems, schemes)
        front = compile_url(base, node, problems)
        urls.append(front if path is None else _joined(front, compile_url(path, path_node, problems)))
    return tuple(urls)


def compile_url(text: str, node: Node, problems: Problems) -> ValueTemplate:
    """A URL, or a part of one: what its template fills in is percent-encoded."""
    faults = RuleErrors()
    builder = compile_text(text, faults, _percent_encoded)
    add_problems(faults, node, problems)
    return builder


def _joined(front: ValueTemplate, path: ValueTemplate) -> ValueTemplate:
    def build(scope: Scope) -> str:
        return str(front(scope)).rstrip("/") + "/" + str(path(scope)).lstrip("/")

    both = front.literal and path.literal
    return ValueTemplate(build, set(front.reads | path.reads), set(), literal=both)


def compile_tls(tls: TLSSpec, node: Node, environment: LoadEnvironment, problems: Problems) -> TLSSpec:
    """Whom to trust, its files under names that can be opened from anywhere."""
    located: dict[str, Any] = {}
    for word, name in (("ca", "ca"), ("cert", "cert"), ("key", "private_key")):
        file = getattr(tls, name)
        if file is None:
            continue
        try:
            environment.read_file(file)
        except (OSError, ValueError) as error:
            at = node.find((word,))
            reason = getattr(error, "strerror", None) or error
            problems.add(at.location, at.path, f"cannot read {file}: {reason}")
        located[name] = environment.locate(file)
    return replace(tls, **located)


def compile_body(spec: RequestSpec | None, node: Node, problems: Problems) -> BodyRule:
    """How the body is made from the client's."""
    if spec is None:
        return UnchangedBody()
    edits = [name for name in _EDITS if getattr(spec, name) or (name == "keep" and spec.keep is not None)]
    if spec.body is not ABSENT:
        if edits:
            at = node.find((edits[0],))
            problems.add(
                at.key_location or at.location,
                at.path,
                f"`{edits[0]}` beside `body`",
                expected="edits of the client's body, or a `body` built from nothing",
            )
        return TemplateBody(spec.body)
    if not edits:
        return UnchangedBody()
    return EditedBody(
        keep=None if spec.keep is None else frozenset(spec.keep),
        drop=frozenset(spec.drop),
        rename=spec.rename or {},
        message_keys=spec.message_keys or {},
        roles=spec.roles or {},
        fields=spec.fields,
        sets=frozenset(_members(node, "fields") | _members(node, "customFields")),
    )


def _members(node: Node, name: str) -> set[str]:
    """The names in a mapping below, where there is one."""
    below = node.value.get(name)
    return {str(key) for key in below.value} if below and isinstance(below.value, dict) else set()


def _check_url(url: str, node: Node, problems: Problems, schemes: tuple[str, ...]) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in schemes and bool(parts.netloc)
    except ValueError:
        good = False
    if not good and not (is_template(url) and url.startswith(tuple(f"{scheme}://" for scheme in schemes))):
        wanted = f"{schemes[0]}://HOST:PORT/PATH or {schemes[1]}://…"
        message = f"`{url}` is no URL"
        if url.startswith(("ws://", "wss://")) and "ws" not in schemes:
            message = f"`{url}` leads to a websocket, which only a stream with `framing: websocket` reads"
            wanted += "; where a server has nothing but such a stream, `response: false` says so"
        problems.add(node.location, node.path, message, expected=wanted)


def _percent_encoded(value: Any) -> str:
    """A value inside a URL: it must not become other parts of it."""
    text = "" if value is None else str(value)
    if any(segment in (".", "..") for segment in text.split("/")):
        raise RequestError(400, f"`{text}` cannot be part of a URL", param="model", code="invalid_value")
    return quote(text, safe="/:@" if isinstance(value, PathText) else "", errors="replace")
