"""From a checked spec to a route: what the file says, put together once, when it is loaded."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from bridge import json
from bridge.config.overlay import overlay
from bridge.config.records import Record
from bridge.config.shapes import INVALID
from bridge.prompts import PROMPTS, template_prompt, tokenizer_prompt
from bridge.routes.answers import AnswerRule, ErrorRule, StreamRule
from bridge.routes.bodies import AsIs
from bridge.routes.failing import Failing
from bridge.routes.openai import OPENAI_STREAM, OPENAI_WHOLE
from bridge.routes.outgoing import compile_auth, compile_body_rule, compile_call, compile_urls
from bridge.routes.route import Outgoing, Route, Session
from bridge.routes.spec import ABSENT
from bridge.routes.spec.answers import ResponseSpec, StreamSpec
from bridge.routes.spec.requests import RequestSpec
from bridge.routes.spec.transport import TransportSpec
from bridge.templating import Interpolated

if TYPE_CHECKING:
    from bridge.config.nodes import Node
    from bridge.config.problems import Problems
    from bridge.prompts import Prompt
    from bridge.routes.bodies import BodyRule
    from bridge.routes.spec import RouteSpec
    from bridge.routes.spec.answers import ErrorSpec
    from bridge.routes.spec.transport import TLSSpec
    from bridge.routes.table import Surroundings

__all__ = ["compile_route"]


def compile_route(
    spec: RouteSpec, node: Node, surroundings: Surroundings, problems: Problems
) -> Route | None:
    """The route of a checked spec; None where further problems were found."""
    before = len(problems)
    route = _Compiler(spec, node, surroundings, problems).route()
    return route if len(problems) == before else None


class _Compiler:
    """Compiles one route."""

    def __init__(self, spec: RouteSpec, node: Node, surroundings: Surroundings, problems: Problems) -> None:
        self._spec = spec
        self._node = node
        self._surroundings = surroundings
        self._problems = problems
        upstream = spec.upstream
        self._transport: TransportSpec = (
            TransportSpec(url=upstream) if isinstance(upstream, str) else upstream or TransportSpec()
        )

    def route(self) -> Route:
        spec = self._spec
        whole, stream = self._whole(), self._stream()
        if whole is None and stream is None:
            self._problem(
                "response", "the server answers neither whole nor streamed", "`response` or `stream`"
            )
        headers, query = compile_auth(spec.auth, self._at("auth"), self._problems)
        body = compile_body_rule(spec.request, self._at("request"), self._problems)
        outgoing = self._outgoing(body, headers, query)
        openai_whole, openai_stream = spec.response is ABSENT, stream is OPENAI_STREAM
        return Route(
            name=str(spec.name or spec.models[0]),
            models=tuple(map(str, spec.models)),
            model=spec.model,
            serves=frozenset(spec.serves),
            prompt=self._prompt(),
            outgoing=outgoing,
            streaming=self._streaming(outgoing),
            whole=whole,
            stream=stream,
            openai_whole=openai_whole,
            openai_stream=openai_stream,
            plain=isinstance(body, AsIs) and openai_whole and openai_stream,
            failing=Failing(tuple(map(_error_rule, spec.error)), own_key=spec.auth == "client"),
            session=self._session(),
            pass_key=spec.auth == "client",
            emulate=spec.emulate,
            refuses_unsupported=spec.unsupported == "error",
            limits=spec.limits,
            transport=replace(self._transport, tls=self._tls()),
            samples=spec.samples,
            secrets=tuple(self._secrets()),
        )

    def _whole(self) -> AnswerRule | None:
        match self._spec.response:
            case False:
                return None
            case ResponseSpec() as spec:
                return _on_openai(spec, OPENAI_WHOLE)
            case _:
                return OPENAI_WHOLE

    def _stream(self) -> StreamRule | None:
        spec = self._spec.stream
        if spec is False:
            return None
        if spec is ABSENT:
            return OPENAI_STREAM if self._spec.response is ABSENT else None
        response = self._spec.response
        inherited = _answer_rule(response) if isinstance(response, ResponseSpec) else None
        done = spec.done
        rule = _on_openai(spec, OPENAI_STREAM.answer) if inherited is None else _answer_rule(spec)
        return StreamRule(
            answer=rule.over(inherited, _said(spec)),
            framing=spec.framing,
            inner=spec.inner,
            cumulative=spec.mode == "cumulative",
            text_data=spec.data == "text",
            only=spec.only,
            skip=spec.skip,
            done=None if isinstance(done, str) else done,
            done_literal=done if isinstance(done, str) else "[DONE]",
            done_promised=done is not None,
            replace=spec.replace,
        )

    def _outgoing(self, body: BodyRule, headers: dict[str, Any], query: dict[str, Any]) -> Outgoing:
        spec = self._spec
        own = dict(spec.request.headers or {}) if spec.request else {}
        bases = self._bases()
        if not bases:
            self._problem("upstream", "`upstream` is missing", "the URL of the model server")
        return Outgoing(
            method=self._transport.method or "POST",
            urls=compile_urls(bases, spec.path, self._at("path"), self._problems),
            # Header names are case-insensitive: the later of two equal ones replaces the earlier.
            headers=_merged(headers, spec.headers or {}, own),
            query=query | (spec.query or {}),
            body=body,
        )

    def _streaming(self, outgoing: Outgoing) -> Outgoing:
        """What differs when streaming."""
        spec = self._spec.stream
        if not isinstance(spec, StreamSpec):
            return outgoing
        urls = outgoing.urls
        if spec.url is not None or spec.path is not None:
            bases = [(spec.url, self._at("stream", "url"))] if spec.url else self._bases()
            urls = compile_urls(bases, spec.path, self._at("stream", "path"), self._problems)
        body, own = outgoing.body, {}
        if spec.request is not None:
            merged = self._merged_request()
            body = compile_body_rule(merged, self._at("stream", "request"), self._problems)
            own = dict(spec.request.headers or {})
        return Outgoing(
            method=spec.method or outgoing.method,
            urls=urls,
            headers=_merged(outgoing.headers, spec.headers or {}, own),
            query={**outgoing.query, **(spec.query or {})},
            body=body,
        )

    def _merged_request(self) -> Any:
        """The request with what `stream.request` lays over it."""
        top = self._at("stream", "request")
        base = self._node.value.get("request")
        if base is None or ("body" in base.value) is not ("body" in top.value):
            return self._spec.stream.request  # edits and a body built from nothing cannot be mixed
        merged = _REQUEST.check(overlay(_REQUEST.respelled(base), _REQUEST.respelled(top)), self._problems)
        return None if merged is INVALID else merged

    def _tls(self) -> TLSSpec:
        """Its files, under names that can be opened from anywhere."""
        tls = self._transport.tls
        located: dict[str, Any] = {}
        for word, name in (("ca", "ca"), ("cert", "cert"), ("key", "private_key")):
            file = getattr(tls, name)
            if file is None:
                continue
            try:
                self._surroundings.read_file(file)
            except (OSError, ValueError) as error:
                at = self._at("upstream", "tls", word)
                reason = getattr(error, "strerror", None) or error
                self._problems.add(at.place, at.path, f"cannot read {file}: {reason}")
            located[name] = self._surroundings.locate(file)
        return replace(tls, **located)

    def _session(self) -> Session | None:
        spec = self._spec.session
        if spec is None:
            return None
        at = self._at("session")
        if spec.open.id is None:
            self._problem("session", "`open.id` is missing", "the path of the session's id in the answer")
            return None
        opened = compile_call(spec.open, self._bases(), at.find(("open",)), self._problems)
        closed = (
            compile_call(spec.close, self._bases(), at.find(("close",)), self._problems)
            if spec.close
            else None
        )
        return Session(opened, spec.open.id, closed)

    def _prompt(self) -> Prompt:
        spec = self._spec.prompt
        if isinstance(spec, str):
            return PROMPTS[spec]
        if (spec.template is None) is (spec.file is None):
            self._problem("prompt", "no prompt", "either `template` or `file`")
            return PROMPTS["plain"]
        try:
            if spec.template is not None:
                return template_prompt(spec.template)
            text = self._surroundings.read_file(spec.file)
            config = json.loads(text) if spec.file.endswith(".json") else {"chat_template": text}
            return tokenizer_prompt(config if isinstance(config, dict) else {})
        except (OSError, ValueError) as error:
            self._problem("prompt", f"{getattr(error, 'strerror', None) or error}")
            return PROMPTS["plain"]

    def _bases(self) -> list[tuple[str, Node]]:
        at = self._at("upstream")
        own = [(self._transport.url, at.find(("url",)))] if self._transport.url else []
        return own + [(url, at.find(("replicas", n))) for n, url in enumerate(self._transport.replicas)]

    def _secrets(self) -> list[str]:
        """What came from outside into keys, headers and queries, and keys in any case."""
        found = []
        for below in self._node.walk():
            text, steps = below.value, set(re.split(r"[.\[\]]", below.path))
            if isinstance(text, Interpolated):
                # Of a URL only what is behind its host: an address is no secret.
                behind = text.partition("?")[2] if "://" in text else text
                kept = steps & _SECRET_PARTS or "://" in text
                found += [value for value in text.values if value and kept and value in behind]
            elif isinstance(text, str) and "auth" in steps and below.path.endswith(_KEYS):
                found.append(text)
        return found

    def _at(self, *steps: str) -> Node:
        return self._node.find(steps)

    def _problem(self, name: str, message: str, expected: str = "") -> None:
        at = self._at(name)
        self._problems.add(at.place, at.path, message, expected=expected)


_REQUEST = Record(RequestSpec)
_SECRET_PARTS = {"auth", "headers", "customHeaders", "query"}
_KEYS = (".bearer", ".value", ".password")


def _said(spec: ResponseSpec) -> frozenset[str]:
    """The slots that a spec says something of, be it that they are off."""
    return frozenset(entry.name for entry in fields(ResponseSpec) if getattr(spec, entry.name) is not ABSENT)


def _answer_rule(spec: ResponseSpec) -> AnswerRule:
    slots = {name: getattr(spec, name) for name in _said(spec)}
    usage = slots.pop("usage", None)
    parts = [(entry.name, getattr(usage, entry.name)) for entry in fields(usage)] if usage else []
    return AnswerRule(**slots, usage=tuple((name, part) for name, part in parts if part is not None))


def _on_openai(spec: ResponseSpec, openai: AnswerRule) -> AnswerRule:
    """Slots without a `text` adjust OpenAI's own shape: a map of finish reasons, say, and nothing else."""
    rule = _answer_rule(spec)
    if spec.text is ABSENT and spec.choices is ABSENT:
        return rule.over(openai, _said(spec))
    return rule


def _error_rule(spec: ErrorSpec) -> ErrorRule:
    return ErrorRule(**{entry.name: getattr(spec, entry.name) for entry in fields(spec)})


def _merged(*mappings: Any) -> dict[str, Any]:
    merged: dict[str, tuple[str, Any]] = {}
    for mapping in mappings:
        merged.update({name.lower(): (name, value) for name, value in mapping.items()})
    return dict(merged.values())
