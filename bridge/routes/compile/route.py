"""From a checked spec to a route: what the file says, put together once, when it is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridge.config.merge import deep_merge
from bridge.config.records import Record
from bridge.config.secrets import secret_texts
from bridge.config.value_types import INVALID
from bridge.core import json
from bridge.framing import FRAMINGS, MESSAGE_FRAMINGS
from bridge.prompts import PROMPTS, template_prompt, tokenizer_prompt
from bridge.routes.compile.auth import compile_auth, compile_dynamic_auth
from bridge.routes.compile.callouts import CalloutCompiler
from bridge.routes.compile.fast_path import independent_text_path
from bridge.routes.compile.requests import compile_body, compile_tls, compile_urls
from bridge.routes.compile.responses import compile_errors, compile_response, compile_stream
from bridge.routes.rules.body_rules import TemplateBody
from bridge.routes.rules.error_mapping import ErrorMapper
from bridge.routes.rules.request_template import RequestTemplate
from bridge.routes.rules.response_rules import missing_outputs
from bridge.routes.rules.route import CalloutRules, RequestRules, ResponseRules, Route
from bridge.routes.rules.settings import TransportSpec
from bridge.routes.spec.requests import RequestSpec
from bridge.routes.spec.responses import StreamSpec
from bridge.tool_formats import TOOL_FORMATS

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.prompts import Prompt
    from bridge.routes.compile.environment import LoadEnvironment
    from bridge.routes.rules.response_rules import StreamRule
    from bridge.routes.spec import RouteSpec

__all__ = ["compile_route"]


def compile_route(
    spec: RouteSpec, node: Node, environment: LoadEnvironment, problems: Problems
) -> Route | None:
    """The route of a checked spec; None where further problems were found."""
    before = len(problems)
    route = RouteCompiler(spec, node, environment, problems).route()
    return route if len(problems) == before else None


class RouteCompiler:
    """Compiles one route."""

    def __init__(self, spec: RouteSpec, node: Node, environment: LoadEnvironment, problems: Problems) -> None:
        self._spec = spec
        self._node = node
        self._surroundings = environment
        self._problems = problems
        self._transport: TransportSpec = spec.upstream or TransportSpec()
        self._tools = TOOL_FORMATS[spec.tools] if spec.tools else None

    def route(self) -> Route:
        """Return the route; it must not be used if problems were added."""
        spec = self._spec
        response = self._response()
        request = self._request(response)
        return Route(
            name=str(spec.name or spec.models[0]),
            models=tuple(map(str, spec.models)),
            serves=frozenset(spec.serves),
            request=request,
            response=response,
            callouts=self._callouts(request.non_streaming),
            emulate=spec.emulate,
            limits=spec.limits,
            transport=self._located_transport(),
            samples=spec.samples,
            secrets=tuple(secret_texts(self._node)),
        )

    def _response(self) -> ResponseRules:
        """Return how responses are read."""
        spec = self._spec
        rule, stream = compile_response(spec, self._tools), compile_stream(spec, self._tools)
        if rule is None and stream is None:
            self._problem(
                "response", "the server answers neither whole nor streamed", "`response` or `stream`"
            )
        for output in missing_outputs(rule, spec.serves):
            self._problem(
                "response", f"nothing here reads `{output}`, which the route serves", f"`{output}`, a slot"
            )
        errors = compile_errors(spec)
        session_id = spec.session.id if spec.session else None
        return ResponseRules(
            non_streaming=rule,
            streaming=stream,
            errors=ErrorMapper(errors, client_key=spec.auth == "client"),
            fast_text_path=independent_text_path(stream, errors, session_id),
        )

    def _request(self, response: ResponseRules) -> RequestRules:
        """Return how requests are built."""
        spec, stream = self._spec, response.streaming
        template = self._outgoing(stream if response.non_streaming is None else None)
        streaming = self._streaming(template, stream)
        if self._tools and not all(isinstance(each.body, TemplateBody) for each in (template, streaming)):
            self._problem("tools", "`tools` beside the client's own body", "`request.body`, with $.tools")
        return RequestRules(
            model=spec.model,
            prompt=self._prompt(),
            tools=self._tools,
            non_streaming=template,
            streaming=streaming,
            forwards_client_key=spec.auth == "client",
            rejects_unsupported=spec.unsupported == "error",
        )

    def _callouts(self, template: RequestTemplate) -> CalloutRules:
        """Return the callouts; the order of compilation is the order in which values become known."""
        compiler = CalloutCompiler(self._spec, self._node, self._bases(), template, self._problems)
        return CalloutRules(
            session=compiler.session(),
            calls=compiler.calls(),
            poll=compiler.poll(),
            cancel=compiler.cancel(),
            sends_request=compiler.asks,
        )

    def _located_transport(self) -> TransportSpec:
        """Return the transport with files of certificates under names that can be opened from anywhere."""
        tls = compile_tls(
            self._transport.tls, self._at("upstream", "tls"), self._surroundings, self._problems
        )
        return replace(self._transport, tls=tls)

    def _outgoing(self, alone: StreamRule | None) -> RequestTemplate:
        """The route's own request; `alone`: the server only streams, and so."""
        spec = self._spec
        keys, key_query = compile_auth(spec.auth, self._at("auth"), self._problems)
        own = dict(spec.request.headers or {}) if spec.request else {}
        bases = self._bases()
        if not bases and not (spec.poll and spec.calls):
            self._problem("upstream", "`upstream` is missing", "the URL of the model server")
        return RequestTemplate(
            method=self._transport.method or "POST",
            urls=compile_urls(bases, spec.path, self._at("path"), self._problems, _schemes(alone)),
            # Header names are case-insensitive: the later of two equal ones replaces the earlier.
            headers=_merged(spec.headers or {}, own),
            query=spec.query or {},
            body=compile_body(spec.request, self._at("request"), self._problems),
            credential_headers=keys,
            credential_query=key_query,
            auth=compile_dynamic_auth(
                spec.auth,
                self._at("auth"),
                self._surroundings,
                self._problems,
                proxy=self._transport.proxy,
            ),
        )

    def _streaming(self, outgoing: RequestTemplate, stream: StreamRule | None) -> RequestTemplate:
        """What differs when streaming."""
        spec = self._spec.stream
        if not isinstance(spec, StreamSpec):
            return outgoing
        if spec.inner != "json" and spec.framing not in MESSAGE_FRAMINGS:
            at = self._at("stream", "inner")
            wanted = " or ".join(f"`framing: {one}`" for one in MESSAGE_FRAMINGS)
            self._problems.add(
                at.location, at.path, f"`inner` beside `framing: {spec.framing}`", expected=wanted
            )
        urls = outgoing.urls
        if spec.url is not None or spec.path is not None:
            bases = [(spec.url, self._at("stream", "url"))] if spec.url else self._bases()
            at = self._at("stream", "path")
            urls = compile_urls(bases, spec.path, at, self._problems, _schemes(stream))
        body, own = outgoing.body, {}
        if spec.request is not None:
            merged = self._merged_request()
            body = compile_body(merged, self._at("stream", "request"), self._problems)
            own = dict(spec.request.headers or {})
        return replace(
            outgoing,
            method=spec.method or outgoing.method,
            urls=urls,
            headers=_merged(outgoing.headers, spec.headers or {}, own),
            query={**outgoing.query, **(spec.query or {})},
            body=body,
            websocket=self._spec.limits.frame if FRAMINGS[spec.framing].is_websocket else None,
        )

    def _merged_request(self) -> Any:
        """The request with what `stream.request` lays over it."""
        top = self._at("stream", "request")
        base = self._node.value.get("request")
        if base is None or ("body" in base.value) is not ("body" in top.value):
            return self._spec.stream.request  # edits and a body built from nothing cannot be mixed
        merged = _REQUEST.check(deep_merge(_REQUEST.canonical(base), _REQUEST.canonical(top)), self._problems)
        return None if merged is INVALID else merged

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

    def _at(self, *steps: str) -> Node:
        return self._node.find(steps)

    def _problem(self, name: str, message: str, expected: str = "") -> None:
        at = self._at(name)
        self._problems.add(at.location, at.path, message, expected=expected)


_REQUEST = Record(RequestSpec)


def _schemes(stream: StreamRule | None) -> tuple[str, ...]:
    return ("ws", "wss", "http", "https") if stream and stream.framing.is_websocket else ("http", "https")


def _merged(*mappings: Any) -> dict[str, Any]:
    merged: dict[str, tuple[str, Any]] = {}
    for mapping in mappings:
        merged.update({name.lower(): (name, value) for name, value in mapping.items()})
    return dict(merged.values())
