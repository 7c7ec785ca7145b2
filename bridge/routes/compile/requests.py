"""Compilation of requests: URLs, certificates and bodies."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from bridge.core.errors import RequestError, TLSFileError
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
    from bridge.routes.rules.transport import TLSSpec
    from bridge.routes.spec.requests import RequestSpec

__all__ = ["compile_body", "compile_tls", "compile_url", "compile_urls"]

_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")  # `urlsplit` skips line breaks and tabs

_EDITS = ("keep", "drop", "rename", "content", "message_keys", "roles", "fields")


def compile_urls(
    bases: list[tuple[str, Node]],
    path: str | None,
    path_node: Node,
    problems: Problems,
    schemes: tuple[str, ...] = ("http", "https"),
) -> tuple[ValueTemplate, ...]:
    """Compile the URL at each replica: the base as written, or the base with a path joined to it."""
    urls = []
    for base, node in bases:
        _check_url(base, node, problems, schemes)
        url = compile_url(base, node, problems)
        urls.append(url if path is None else _joined(url, compile_url(path, path_node, problems)))
    return tuple(urls)


def compile_url(text: str, node: Node, problems: Problems) -> ValueTemplate:
    """Compile a URL or a part of a URL, in which values of the template are percent-encoded."""
    errors = RuleErrors()
    template = compile_text(text, errors, _percent_encoded)
    add_problems(errors, node, problems)
    return template


def _joined(base: ValueTemplate, path: ValueTemplate) -> ValueTemplate:
    def build(scope: Scope) -> str:
        return str(base(scope)).rstrip("/") + "/" + str(path(scope)).lstrip("/")

    literal = base.literal and path.literal
    return ValueTemplate(build, set(base.reads | path.reads), set(), literal=literal)


def compile_tls(tls: TLSSpec, node: Node, environment: LoadEnvironment, problems: Problems) -> TLSSpec:
    """Return the settings with absolute file names; a file that cannot be used is a problem."""
    located: dict[str, Any] = {}
    before = len(problems)
    for key, attribute in (("ca", "ca"), ("cert", "cert"), ("key", "private_key")):
        file = getattr(tls, attribute)
        if file is None:
            continue
        try:
            environment.read_file(file)
        except (OSError, ValueError) as error:
            at = node.find((key,))
            reason = getattr(error, "strerror", None) or error
            problems.add(at.location, at.path, f"cannot read {file}: {reason}")
        located[attribute] = environment.locate(file)
    found = replace(tls, **located)
    if located and len(problems) == before:
        try:
            environment.check_tls(found)
        except TLSFileError as error:
            at = node.find((error.key,))
            problems.add(at.location, at.path, str(error))
    return found


def compile_body(
    spec: RequestSpec | None, node: Node, problems: Problems, *, joins_text: bool = False
) -> BodyRule:
    """Compile how the upstream's body is built from the client's.

    `joins_text`: a content that is a list of texts is sent as a string, as custom servers expect strings.
    """
    unchanged = EditedBody(joins_text=True, only_joins=True) if joins_text else UnchangedBody()
    if spec is None:
        return unchanged
    edits = [name for name in _EDITS if getattr(spec, name) or (name == "keep" and spec.keep is not None)]
    if spec.body is not ABSENT:
        if edits:
            at = node.find((edits[0],))
            problems.add(
                at.key_location or at.location,
                at.path,
                f"`{edits[0]}` cannot be combined with `body`",
                expected="either edits of the client's body, or a `body` of its own",
            )
        return TemplateBody(spec.body)
    if not edits:
        return unchanged
    sets = frozenset(_members(node, "fields") | _members(node, "customFields"))
    _check_edits(node, sets, problems)
    return EditedBody(
        keep=None if spec.keep is None else frozenset(spec.keep),
        drop=frozenset(spec.drop),
        rename=spec.rename or {},
        joins_text=joins_text or spec.content == "text",
        message_keys=spec.message_keys or {},
        roles=spec.roles or {},
        fields=spec.fields,
        sets=sets,
    )


def _check_edits(node: Node, sets: frozenset[str], problems: Problems) -> None:
    """Add problems for edits that have no effect."""
    keep, drop = node.get("keep"), node.get("drop")
    # A route may drop what its preset keeps.
    if keep and drop and keep.location.source == drop.location.source:
        problems.add(
            drop.key_location or drop.location,
            drop.path,
            "`drop` cannot be combined with `keep`",
            expected="`keep` alone, without the members to drop",
        )
    if "messages" in sets:
        at = node.get("fields", "messages") or node.find(("customFields", "messages"))
        problems.add(
            at.key_location or at.location,
            at.path,
            "`messages` cannot be set",
            expected="`message_keys` and `roles`, or a `body` of its own",
        )


def _members(node: Node, key: str) -> set[str]:
    """Return the keys of a mapping in a node; none if the mapping is absent."""
    member = node.value.get(key)
    return {str(name) for name in member.value} if member and isinstance(member.value, dict) else set()


def _check_url(url: str, node: Node, problems: Problems, schemes: tuple[str, ...]) -> None:
    """Add a problem unless a URL has one of the schemes, and a host unless the host is a template."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port or 1) > 0  # reading an invalid port raises
        valid = parts.scheme in schemes and named and not _UNSAFE.search(url) and url == url.strip()
    except ValueError:
        valid = False
    is_known = valid or not is_template(url)  # a template may be the host or the port
    start = re.match(r"(\w+)://[^/?#{]*?(?::(\d+))?(?=[/?#{]|$)", url)
    if valid or (not is_known and start and start[1] in schemes and int(start[2] or 1) in range(1, 65536)):
        return
    expected = f"{schemes[0]}://HOST:PORT/PATH or {schemes[1]}://…"
    message = f"`{url}` is not a valid URL"
    if url.startswith(("ws://", "wss://")) and "ws" not in schemes:
        message = f"`{url}` is a websocket's URL, which only a stream with `framing: websocket` can use"
        expected += "; if the upstream has only such a stream, add `response: false`"
    problems.add(node.location, node.path, message, expected=expected)


def _percent_encoded(value: Any) -> str:
    """Return a value for a URL, encoded so that it cannot become another part of the URL."""
    text = "" if value is None else str(value)
    if any(segment in (".", "..") for segment in text.split("/")):
        raise RequestError(400, f"`{text}` cannot be part of a URL", param="model", code="invalid_value")
    return quote(text, safe="/:@" if isinstance(value, PathText) else "", errors="replace")
