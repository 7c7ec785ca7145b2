"""Compiles the calls around an answer: `session`, `calls`, `poll` and `cancel`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bridge.core.strings import Interpolated
from bridge.expressions.extractors import Extractor, compile_slot
from bridge.expressions.paths import is_path
from bridge.expressions.scope import RuleErrors
from bridge.expressions.templates import ValueTemplate, compile_text
from bridge.routes.compile.requests import compile_url, compile_urls
from bridge.routes.rules.body_rules import TemplateBody
from bridge.routes.rules.request_template import Callout, RequestTemplate, SessionRule, origin
from bridge.routes.rules.settings import ABSENT
from bridge.routes.spec.callouts import FoundByHeaderSpec, PollSpec
from bridge.routes.spec.value_types import add_problems

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.spec import RouteSpec
    from bridge.routes.spec.callouts import CallSpec

__all__ = ["CalloutCompiler"]

_LEADING = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_RESERVED = {
    "endpoint", "history", "input", "inputs", "item", "last", "max_tokens", "messages", "model", "now",
    "prompt", "raw", "session", "stop", "stream", "system", "tool_choice", "tools", "turns",
}  # fmt: skip


class CalloutCompiler:
    """Compiles the calls of one route. `outgoing` is the route's own request, whose keys they share."""

    def __init__(
        self,
        spec: RouteSpec,
        node: Node,
        bases: list[tuple[str, Node]],
        outgoing: RequestTemplate,
        problems: Problems,
    ) -> None:
        self._spec = spec
        self._node = node
        self._bases = bases
        self._outgoing = outgoing
        self._problems = problems
        self._values: set[str] = set()  # what the calls so far have made known
        self._answered = False  # whether one of them was made

    def session(self) -> SessionRule | None:
        """The route's session. It is opened first, so this is compiled first."""
        spec = self._spec.session
        if spec is None:
            return None
        at = self._node.find(("session",))
        if spec.open is None and spec.id is None:
            self._problem(at, "where does its id come from?", "`open` with an `id`, or an `id` alone")
            return None
        if spec.open is not None and spec.open.id is None:
            self._problem(at.find(("open",)), "`id` is missing", "the path of the session's id in the answer")
            return None
        if spec.open is None and spec.keep != "conversation":
            self._problem(at, "nothing opens this session", "`open`, or `keep: conversation`")
        self._pauses(at.find(("ttl",)), spec.ttl)
        by = spec.by
        opened = None
        if spec.open is not None:
            opened = self._call(spec.open, at.find(("open",)), (("session", spec.open.id),))
        self._values.add("session")
        if spec.close and spec.close.url and is_path(spec.close.url) and spec.keep == "conversation":
            where = at.find(("close", "url"))
            self._problem(where, "no answer is the newest when a kept session ends", "a URL, with $.session")
        return SessionRule(
            open=opened,
            id=spec.id,
            close=self._call(spec.close, at.find(("close",))) if spec.close else None,
            is_kept=spec.keep == "conversation",
            by="header" if isinstance(by, FoundByHeaderSpec) else str(by),
            header=by.header if isinstance(by, FoundByHeaderSpec) else None,
            ttl=spec.ttl,
            max_kept=spec.most,
            store=spec.store,
        )

    def calls(self) -> tuple[Callout, ...]:
        """The calls ahead of the answer, in their order."""
        compiled = []
        for name, spec in (self._spec.calls or {}).items():
            at = self._node.find(("calls", name))
            compiled.append(self._call(spec, at, tuple((spec.values or {}).items())))
            for value in spec.values or {}:
                if value in _RESERVED:
                    self._problem(at.find(("values", value)), f"`{value}` has a meaning already", "another")
            self._values |= set(spec.values or {})
        return tuple(compiled)

    def poll(self) -> Callout | None:
        """How the answer is polled."""
        spec = self._spec.poll
        if spec is None:
            return None
        at = self._node.find(("poll",))
        self._answered = True  # the route's own request
        if spec.until is None:
            self._problem(at, "`until` is missing", "what holds of the answer when it is there")
        if spec.url is None and spec.path is None and self._outgoing.method == "GET":
            self._pauses(at.find(("every",)), spec.every)
            return Callout(
                at.path, self._outgoing, until=spec.until, interval=spec.every, timeout=spec.timeout
            )
        return self._call(spec, at)

    def cancel(self) -> Callout | None:
        """What is sent when nobody waits any more."""
        spec = self._spec.cancel
        return self._call(spec, self._node.find(("cancel",)), method="POST") if spec else None

    @property
    def asks(self) -> bool:
        """Whether the route's own request is sent, or the calls have made it and it is only polled."""
        spec = self._spec
        if spec.poll is None or not spec.calls:
            return True
        return self._outgoing.method != "GET" and (spec.path is not None or spec.request is not None)

    def _call(
        self,
        spec: CallSpec,
        at: Node,
        values: tuple[tuple[str, Any], ...] = (),
        method: str | None = None,
    ) -> Callout:
        if (spec.url is None) is (spec.path is None):
            self._problem(at, "where does this call go?", "either `url` or `path`")
        if isinstance(spec, PollSpec):
            self._pauses(at.find(("every",)), spec.every)
        url, urls, given = self._where(spec, at)
        body = None if spec.body is ABSENT else TemplateBody(spec.body)
        polled = spec if isinstance(spec, PollSpec) else PollSpec()
        own = self._outgoing
        self._answered = True
        return Callout(
            name=at.path,
            template=RequestTemplate(
                method=spec.method or method or ("POST" if body else "GET"),
                urls=urls,
                headers={**(self._spec.headers or {}), **(spec.headers or {})},
                query=spec.query or {},
                body=body,
                credential_headers=own.credential_headers,
                credential_query=own.credential_query,
                auth=own.auth,
                origins=frozenset(origin(base) for base, _ in self._bases) if given else None,
            ),
            when=spec.when,
            url=url,
            values=values,
            until=polled.until,
            interval=polled.every,
            timeout=polled.timeout,
        )

    def _pauses(self, at: Node, seconds: float) -> None:
        if seconds <= 0:
            self._problem(at, "no time at all", "a duration, such as 500ms")

    def _where(self, spec: CallSpec, at: Node) -> tuple[Extractor | None, tuple[ValueTemplate, ...], bool]:
        """A slot of the newest answer or URLs, and whether a server's answer says where the call goes."""
        faults = RuleErrors()
        node = at.find(("url",))
        if spec.url is not None and is_path(spec.url):
            if not self._answered:
                self._problem(node, "no answer has come when this call is made", "`path`, or a whole URL")
            slot = compile_slot(spec.url, faults)
            add_problems(faults, node, self._problems)
            return slot, (), True
        lead = _LEADING.match(spec.url.template if isinstance(spec.url, Interpolated) else spec.url or "")
        if lead and isinstance(spec.url, Interpolated):
            self._problem(node, "${…} beside a URL that an answer names", "`query` or `headers`")
            return None, (), True
        if lead is None:
            bases = [(spec.url, node)] if spec.url else self._bases
            return None, compile_urls(bases, spec.path, at.find(("path",)), self._problems), False
        # A value of an earlier answer that a URL begins with is one itself, and is taken whole.
        front = compile_text(lead[0], faults)
        add_problems(faults, node, self._problems)
        if unknown := [str(name) for name in front.reads - self._values]:
            self._problem(
                node,
                f"`{lead[0]}` gives no URL: no call has the value `{unknown[0]}`",
                "a value of `calls`, http://HOST:PORT/PATH, or a path into the newest answer",
            )
        rest = str(spec.url)[lead.end() :]
        behind = compile_url(rest, node, self._problems)
        return None, (_chained(front, behind),), True

    def _problem(self, at: Node, message: str, expected: str) -> None:
        self._problems.add(at.location, at.path, message, expected=expected)


def _chained(front: ValueTemplate, behind: ValueTemplate) -> ValueTemplate:
    return ValueTemplate(
        lambda scope: f"{front(scope)}{behind(scope)}", set(front.reads | behind.reads), set()
    )
