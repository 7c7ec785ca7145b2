"""Compilation of callouts: `session`, `calls`, `poll` and `cancel`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bridge.core.strings import Interpolated
from bridge.core.urls import origin
from bridge.expressions.extractors import Extractor, compile_slot
from bridge.expressions.paths import is_path
from bridge.expressions.scope import RuleErrors
from bridge.expressions.templates import ValueTemplate, compile_text
from bridge.routes.compile.requests import compile_url, compile_urls
from bridge.routes.rules.body_rules import TemplateBody
from bridge.routes.rules.request_template import Callout, RequestTemplate, ResponseOrigins, SessionRule
from bridge.routes.rules.settings import ABSENT
from bridge.routes.spec.callouts import FoundByHeaderSpec, PollSpec
from bridge.routes.spec.responses import StreamSpec
from bridge.routes.spec.value_types import add_problems

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.spec import RouteSpec
    from bridge.routes.spec.callouts import CallSpec, SessionSpec

__all__ = ["CalloutCompiler"]

_LEADING_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_RESERVED = {
    "endpoint", "history", "input", "inputs", "item", "last", "max_tokens", "messages", "model", "now",
    "prompt", "raw", "session", "stop", "stream", "system", "tool_choice", "tools", "turns",
}  # fmt: skip


class CalloutCompiler:
    """The compiler of one route's callouts. Its methods are called in the order of the callouts."""

    def __init__(
        self,
        spec: RouteSpec,
        node: Node,
        bases: list[tuple[str, Node]],
        request: RequestTemplate,
        problems: Problems,
    ) -> None:
        self._spec = spec
        self._node = node
        self._bases = bases  # URLs of the upstream
        self._request = request  # the route's own request, whose credentials callouts share
        self._problems = problems
        self._values: set[str] = set()  # members of the request document that callouts so far have added
        self._has_response = False  # a callout precedes

    def session(self) -> SessionRule | None:
        """Return the route's session."""
        spec, at = self._spec.session, self._node.find(("session",))
        if spec is None or not self._check_session(spec, at):
            return None
        opened = None
        if spec.open is not None:
            opened = self._callout(spec.open, at.find(("open",)), (("session", spec.open.id),))
        self._values.add("session")
        if spec.close and spec.close.url and is_path(spec.close.url) and spec.keep == "conversation":
            where = at.find(("close", "url"))
            self._problem(where, "no response precedes the end of a kept session", "a URL, with $.session")
        by = spec.by
        return SessionRule(
            open=opened,
            id=spec.id,
            close=self._callout(spec.close, at.find(("close",))) if spec.close else None,
            is_kept=spec.keep == "conversation",
            by="header" if isinstance(by, FoundByHeaderSpec) else str(by),
            header=by.header if isinstance(by, FoundByHeaderSpec) else None,
            ttl=spec.ttl,
            max_kept=spec.most,
            store=spec.store,
        )

    def _check_session(self, spec: SessionSpec, at: Node) -> bool:
        """Return whether a session has an id, and add problems of its keys."""
        if spec.open is None and spec.id is None:
            self._problem(at, "the session has no id", "`open` with an `id`, or an `id` alone")
            return False
        if spec.open is not None and spec.open.id is None:
            self._problem(
                at.find(("open",)), "`id` is missing", "the path of the session's id in the response"
            )
            return False
        if spec.open is None and spec.keep != "conversation":
            self._problem(at, "`open` is missing", "`open`, or `keep: conversation`")
        self._check_duration(at.find(("ttl",)), spec.ttl)
        return True

    def calls(self) -> tuple[Callout, ...]:
        """Return the calls before the response, in their order."""
        callouts = []
        for name, spec in (self._spec.calls or {}).items():
            at = self._node.find(("calls", name))
            callouts.append(self._callout(spec, at, tuple((spec.values or {}).items())))
            for value in spec.values or {}:
                if value in _RESERVED:
                    self._problem(at.find(("values", value)), f"`{value}` is a reserved name", "another name")
            self._values |= set(spec.values or {})
        return tuple(callouts)

    def poll(self) -> Callout | None:
        """Return the call that polls the response."""
        spec = self._spec.poll
        if spec is None:
            return None
        at = self._node.find(("poll",))
        self._has_response = True  # of the route's own request
        if spec.until is None:
            self._problem(at, "`until` is missing", "a condition on the complete response")
        if spec.url is None and spec.path is None and self._request.method == "GET":
            self._check_duration(at.find(("every",)), spec.every)
            return Callout(
                at.path, self._request, until=spec.until, interval=spec.every, timeout=spec.timeout
            )
        return self._callout(spec, at)

    def cancel(self) -> Callout | None:
        """Return the call that is made when the response is no longer required."""
        spec = self._spec.cancel
        return self._callout(spec, self._node.find(("cancel",)), method="POST") if spec else None

    @property
    def sends_request(self) -> bool:
        """Return whether the route's own request is sent; if not, `calls` start a job that is only polled."""
        spec = self._spec
        if spec.poll is None or not spec.calls:
            return True
        return self._request.method != "GET" and (spec.path is not None or spec.request is not None)

    def _callout(
        self,
        spec: CallSpec,
        at: Node,
        values: tuple[tuple[str, Any], ...] = (),
        method: str | None = None,
    ) -> Callout:
        """Return a callout; `values` are extractors of members of the request document, by name."""
        if (spec.url is None) is (spec.path is None):
            self._problem(at, "not exactly one of `url` and `path`", "either `url` or `path`")
        polled = spec if isinstance(spec, PollSpec) else PollSpec()
        self._check_duration(at.find(("every",)), polled.every)
        url, urls, from_response = self._urls(spec, at)
        body = None if spec.body is ABSENT else TemplateBody(spec.body)
        own = self._request
        self._has_response = True
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
                origins=self._origins(spec) if from_response else None,
            ),
            when=spec.when,
            url=url,
            values=values,
            until=polled.until,
            interval=polled.every,
            timeout=polled.timeout,
        )

    def _origins(self, spec: CallSpec) -> ResponseOrigins:
        """Return where a URL out of a response may lead: to a server of the file, or to a named origin."""
        route = self._spec
        session, stream = route.session, route.stream
        opened = (session.open, session.close) if session else ()
        callouts = (*opened, *(route.calls or {}).values(), route.poll, route.cancel)
        urls = [base for base, _ in self._bases] + [each.url for each in callouts if each and each.url]
        if isinstance(stream, StreamSpec) and stream.url:
            urls.append(stream.url)
        named = route.upstream.url_origins if route.upstream else ()
        return ResponseOrigins(
            own=frozenset(text for url in urls if (text := origin(url)) is not None),
            others=frozenset(text for url in named if (text := origin(url)) is not None),
            headers=spec.headers or {},
        )

    def _urls(self, spec: CallSpec, at: Node) -> tuple[Extractor | None, tuple[ValueTemplate, ...], bool]:
        """Return an extractor of the URL or URL templates, and whether the URL is from a response."""
        node = at.find(("url",))
        if spec.url is not None and is_path(spec.url):
            return self._url_slot(spec.url, node), (), True
        written = spec.url.template if isinstance(spec.url, Interpolated) else spec.url or ""
        leading = _LEADING_EXPRESSION.match(written)
        if leading is None:
            bases = [(spec.url, node)] if spec.url else self._bases
            return None, compile_urls(bases, spec.path, at.find(("path",)), self._problems), False
        if isinstance(spec.url, Interpolated):
            self._problem(node, "${…} in a URL that a response names", "`query` or `headers`")
            return None, (), True
        return None, (self._url_of_value(leading[0], str(spec.url)[leading.end() :], node),), True

    def _url_slot(self, url: str, node: Node) -> Extractor:
        """Return the extractor of a URL in the newest response of a callout."""
        if not self._has_response:
            self._problem(node, "no response precedes this call", "`path`, or a whole URL")
        errors = RuleErrors()
        slot = compile_slot(url, errors)
        add_problems(errors, node, self._problems)
        return slot

    def _url_of_value(self, expression: str, rest: str, node: Node) -> ValueTemplate:
        """Return the template of a URL that begins with a value of `calls`, which is not percent-encoded."""
        errors = RuleErrors()
        front = compile_text(expression, errors)
        add_problems(errors, node, self._problems)
        if unknown := [str(name) for name in front.reads - self._values]:
            self._problem(
                node,
                f"`{expression}` is not a URL: no call has the value `{unknown[0]}`",
                "a value of `calls`, http://HOST:PORT/PATH, or a path into the newest response",
            )
        end = compile_url(rest, node, self._problems)
        return ValueTemplate(lambda scope: f"{front(scope)}{end(scope)}", set(front.reads | end.reads), set())

    def _check_duration(self, at: Node, seconds: float) -> None:
        if seconds <= 0:
            self._problem(at, "the duration is zero", "a longer duration, such as 500ms")

    def _problem(self, at: Node, message: str, expected: str) -> None:
        self._problems.add(at.location, at.path, message, expected=expected)
