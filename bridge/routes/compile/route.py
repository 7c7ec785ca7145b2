"""Compilation of a route: from a checked spec to the rules that requests use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridge.config.merge import deep_merge
from bridge.config.records import Record
from bridge.config.secrets import basic_pair, secret_texts, url_passwords
from bridge.config.value_types import INVALID
from bridge.framing import FRAMINGS, MESSAGE_FRAMINGS, SSE
from bridge.openai.endpoints import served_endpoints
from bridge.routes.compile.auth import compile_dynamic_auth, compile_static_auth
from bridge.routes.compile.callouts import CalloutCompiler
from bridge.routes.compile.fast_path import independent_text_path
from bridge.routes.compile.health import compile_health
from bridge.routes.compile.model_list import compile_model_list
from bridge.routes.compile.prompts import compile_prompt
from bridge.routes.compile.proxies import compile_proxy
from bridge.routes.compile.requests import compile_body, compile_tls, compile_urls
from bridge.routes.compile.responses import compile_errors, compile_response, compile_stream
from bridge.routes.rules.body_rules import TemplateBody
from bridge.routes.rules.error_mapping import ErrorMapper
from bridge.routes.rules.proxies import EnvironmentProxies
from bridge.routes.rules.request_template import RequestTemplate
from bridge.routes.rules.response_rules import missing_outputs
from bridge.routes.rules.route import CalloutRules, RequestRules, ResponseRules, Route
from bridge.routes.rules.settings import ABSENT
from bridge.routes.spec.auth import AuthSpec
from bridge.routes.spec.requests import RequestSpec
from bridge.routes.spec.responses import StreamSpec
from bridge.routes.spec.upstream import UpstreamSpec
from bridge.tool_formats import TOOL_FORMATS

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node
    from bridge.routes.compile.environment import LoadEnvironment
    from bridge.routes.rules.response_rules import StreamRule
    from bridge.routes.rules.transport import TransportSpec
    from bridge.routes.spec import RouteSpec

__all__ = ["compile_route"]


def compile_route(
    spec: RouteSpec, node: Node, environment: LoadEnvironment, problems: Problems
) -> Route | None:
    """Return the route of a checked spec; None if problems were added."""
    before = len(problems)
    route = RouteCompiler(spec, node, environment, problems).route()
    return route if len(problems) == before else None


class RouteCompiler:
    """The compiler of one route."""

    def __init__(self, spec: RouteSpec, node: Node, environment: LoadEnvironment, problems: Problems) -> None:
        keepalive = spec.stream.keepalive if isinstance(spec.stream, StreamSpec) else "off"
        self._keepalive = None if isinstance(keepalive, str) else keepalive or None
        self._forwards_comments = keepalive == "pass"
        # `keepalive` alone declares nothing about the upstream's streams.
        only_keepalive = isinstance(spec.stream, StreamSpec) and set(node.find(("stream",)).value) == {
            "keepalive"
        }
        self._spec = spec = replace(spec, stream=ABSENT) if only_keepalive else spec
        self._node = node
        self._environment = environment
        self._problems = problems
        self._transport: UpstreamSpec = spec.upstream or UpstreamSpec()
        self._tools = TOOL_FORMATS[spec.tools] if spec.tools else None

    def route(self) -> Route:
        """Return the route, which must not be used if problems were added."""
        spec = self._spec
        response = self._response()
        request = self._request(response)
        return Route(
            name=str(spec.name or spec.models[0]),
            models=tuple(map(str, spec.models)),
            serves=served_endpoints(spec.serves),
            request=request,
            response=response,
            callouts=self._callouts(request.non_streaming),
            emulate=spec.emulate,
            limits=spec.limits,
            transport=self._located_transport(),
            health=compile_health(
                self._transport.health, self._bases(), self._at("upstream", "health"), self._problems
            ),
            model_list=compile_model_list(
                spec, self._bases(), request.non_streaming, self._node, self._problems
            ),
            samples=spec.samples,
            secrets=self._secrets(),
            fallback_name=None if spec.fallback is None else str(spec.fallback),
        )

    def _secrets(self) -> tuple[str, ...]:
        """Return the secret texts of the route, in every form in which a request carries them."""
        auth = self._spec.auth
        basic = auth.basic if isinstance(auth, AuthSpec) else None
        pair = [basic_pair(basic.user, basic.password)] if basic else []
        proxies = self._proxy()
        urls = (proxies.http, proxies.https) if isinstance(proxies, EnvironmentProxies) else ()
        passwords = [text for url in urls if url for text in url_passwords(url)]
        return (*secret_texts(self._node), *pair, *passwords)

    def _response(self) -> ResponseRules:
        """Return how responses are read."""
        spec = self._spec
        slots, stream = compile_response(spec, self._tools), compile_stream(spec, self._tools)
        if slots is None and stream is None:
            self._problem("response", "both `response` and `stream` are turned off", "`response` or `stream`")
        for output in missing_outputs(slots, spec.serves):
            self._problem(
                "response",
                f"`{output}` is missing, although the route serves such an endpoint",
                f"`{output}`, a slot",
            )
        if self._forwards_comments and (stream is None or stream.framing is not SSE):
            self._problem(
                "stream", "`keepalive: pass` without a stream in `framing: sse`", "a duration, such as 15s"
            )
        errors = compile_errors(spec)
        session_id = spec.session.id if spec.session else None
        return ResponseRules(
            non_streaming=slots,
            streaming=stream,
            errors=ErrorMapper(errors, client_key=spec.auth == "client"),
            fast_text_path=independent_text_path(stream, errors, session_id),
            keepalive=self._keepalive,
            forwards_comments=self._forwards_comments,
        )

    def _request(self, response: ResponseRules) -> RequestRules:
        """Return how requests are built."""
        spec, stream = self._spec, response.streaming
        slots = stream.slots if stream and response.non_streaming is None else response.non_streaming
        self._joins_text = slots is not None and slots.message is None
        template = self._template(stream if response.non_streaming is None else None)
        streaming = self._streaming_template(template, stream)
        if self._tools and not all(isinstance(each.body, TemplateBody) for each in (template, streaming)):
            self._problem("tools", "`tools` without a `request.body`", "`request.body`, with $.tools")
        return RequestRules(
            model=spec.model,
            prompt=compile_prompt(spec.prompt, self._at("prompt"), self._environment, self._problems),
            tools=self._tools,
            non_streaming=template,
            streaming=streaming,
            forwards_client_key=spec.auth == "client",
            rejects_unsupported=spec.unsupported == "error",
        )

    def _callouts(self, template: RequestTemplate) -> CalloutRules:
        """Return the callouts, compiled in the order in which their values become available."""
        compiler = CalloutCompiler(self._spec, self._node, self._bases(), template, self._problems)
        return CalloutRules(
            session=compiler.session(),
            calls=compiler.calls(),
            poll=compiler.poll(),
            cancel=compiler.cancel(),
            sends_request=compiler.sends_request,
        )

    def _located_transport(self) -> TransportSpec:
        """Return the transport with absolute names of certificate files."""
        at = self._at("upstream", "tls")
        tls = compile_tls(self._transport.tls, at, self._environment, self._problems)
        return replace(self._transport, tls=tls, proxy=self._proxy())

    def _proxy(self) -> str | EnvironmentProxies | None:
        """Return the setting of the upstream's proxy."""
        at = self._at("upstream", "proxy")
        return compile_proxy(self._transport.proxy, at, self._environment, self._problems)

    def _template(self, only_stream: StreamRule | None) -> RequestTemplate:
        """Return the template of non-streaming requests; `only_stream` is the rule if there are none."""
        spec = self._spec
        headers, query = compile_static_auth(spec.auth, self._at("auth"), self._problems)
        bases = self._bases()
        if not bases and not (spec.poll and spec.calls):
            self._problem("upstream", "`upstream` is missing", "the URL of the model server")
        return RequestTemplate(
            method=self._transport.method or "POST",
            urls=compile_urls(bases, spec.path, self._at("path"), self._problems, _schemes(only_stream)),
            headers=_merged(spec.headers, spec.request and spec.request.headers),
            query=spec.query or {},
            body=compile_body(spec.request, self._at("request"), self._problems, joins_text=self._joins_text),
            credential_headers=headers,
            credential_query=query,
            auth=compile_dynamic_auth(
                spec.auth,
                self._at("auth"),
                self._environment,
                self._problems,
                proxy=self._proxy(),
            ),
        )

    def _streaming_template(self, template: RequestTemplate, stream: StreamRule | None) -> RequestTemplate:
        """Return the template of streaming requests: the other one with what `stream` changes."""
        spec = self._spec.stream
        if not isinstance(spec, StreamSpec):
            return template
        self._check_inner(spec)
        urls = template.urls
        if spec.url is not None or spec.path is not None:
            bases = [(spec.url, self._at("stream", "url"))] if spec.url else self._bases()
            at = self._at("stream", "path")
            urls = compile_urls(bases, spec.path, at, self._problems, _schemes(stream))
        body = template.body
        if spec.request is not None:
            at = self._at("stream", "request")
            body = compile_body(self._merged_request(), at, self._problems, joins_text=self._joins_text)
        return replace(
            template,
            method=spec.method or template.method,
            urls=urls,
            headers=_merged(template.headers, spec.headers, spec.request and spec.request.headers),
            query={**template.query, **(spec.query or {})},
            body=body,
            websocket_limit=self._spec.limits.frame if FRAMINGS[spec.framing].is_websocket else None,
        )

    def _check_inner(self, spec: StreamSpec) -> None:
        if spec.inner != "json" and spec.framing not in MESSAGE_FRAMINGS:
            at = self._at("stream", "inner")
            message = f"`inner` cannot be combined with `framing: {spec.framing}`"
            expected = " or ".join(f"`framing: {name}`" for name in MESSAGE_FRAMINGS)
            self._problems.add(at.location, at.path, message, expected=expected)

    def _merged_request(self) -> Any:
        """Return `stream.request` merged over `request`."""
        top = self._at("stream", "request")
        base = self._node.value.get("request")
        if base is None or ("body" in base.value) is not ("body" in top.value):
            return self._spec.stream.request  # edits cannot be merged with a body of its own
        merged = _REQUEST.check(deep_merge(_REQUEST.canonical(base), _REQUEST.canonical(top)), self._problems)
        return None if merged is INVALID else merged

    def _bases(self) -> list[tuple[str, Node]]:
        """Return the URLs of the upstream and its replicas, with their nodes."""
        at = self._at("upstream")
        first = [(self._transport.url, at.find(("url",)))] if self._transport.url else []
        return first + [
            (replica.url, _url_node(at.find(("replicas", number))))
            for number, replica in enumerate(self._transport.replicas)
        ]

    def _at(self, *steps: str) -> Node:
        return self._node.find(steps)

    def _problem(self, key: str, message: str, expected: str = "") -> None:
        at = self._at(key)
        self._problems.add(at.location, at.path, message, expected=expected)


_REQUEST = Record(RequestSpec)


def _url_node(replica: Node) -> Node:
    """Return the node of a replica's URL, which may be written without a mapping."""
    return replica.find(("url",)) if isinstance(replica.value, dict) else replica


def _schemes(stream: StreamRule | None) -> tuple[str, ...]:
    return ("ws", "wss", "http", "https") if stream and stream.framing.is_websocket else ("http", "https")


def _merged(*mappings: Any) -> dict[str, Any]:
    """Return the headers of all mappings; of headers with equal names, whose case is ignored, the last."""
    merged: dict[str, tuple[str, Any]] = {}
    for mapping in mappings:
        merged.update({name.lower(): (name, value) for name, value in (mapping or {}).items()})
    return dict(merged.values())
