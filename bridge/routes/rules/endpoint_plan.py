"""Endpoint plans: the decisions that are the same for all requests to one endpoint of a route.

    route.plans["chat", True] ─▶ EndpointPlan    chat completions, requested as a stream

Plans are made when the file is loaded, so that requests do not evaluate the route's rules again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.openai.default_parameters import is_default
from bridge.openai.endpoints import PARAMETERS, STRUCTURAL_MEMBERS
from bridge.routes.rules.body_rules import TemplateBody, UnchangedBody
from bridge.routes.rules.request_template import UpstreamRequest, make_request
from bridge.routes.rules.response_rules import IMAGE_BODY, TextSlot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.expressions.extractors import Extractor
    from bridge.expressions.scope import Scope
    from bridge.openai.endpoint_spec import EndpointSpec
    from bridge.routes.rules.body_rules import BodyRule
    from bridge.routes.rules.response_rules import ResponseSlots
    from bridge.routes.rules.route import Route

__all__ = ["EndpointPlan", "RequiredMembers"]


@dataclass(frozen=True, slots=True)
class RequiredMembers:
    """The members of the request document that rules read, and what has to be computed for them."""

    names: frozenset[str]  # contains "None" if a rule may read every member
    prompt: bool  # the prompt has to be rendered
    text: bool  # messages have to be reduced to text
    turns: bool  # turns have to be separated from system messages
    system_alone: bool  # of the text, only that of system messages is read

    @classmethod
    def of(cls, names: frozenset[str]) -> RequiredMembers:
        """Return what has to be computed for members of these names."""
        texts, turns = names & _TEXT_MEMBERS, names & _TURN_MEMBERS
        return cls(names, "prompt" in names, bool(texts), bool(turns), texts == {"system"})


_TEXT_MEMBERS = frozenset({"prompt", "system", "last", "history"})
_TURN_MEMBERS = frozenset({"turns", "system", "last", "history", "None"})


class EndpointPlan:
    """The decisions for one endpoint of a route, with or without streaming to the client."""

    __slots__ = (
        "_callout_bodies",  # body rules of the requests whose bodies can carry a client's parameter
        "_fixed_request",  # a request whose URL and headers are the same each time, once built
        "_handled",  # the client's parameters that are sent upstream or emulated
        "body_rule",
        "changes_body",  # the upstream body differs from the client's before any body rule applies
        "client_streams",  # the client receives a stream
        "constants",  # members of the request document that every request has in common
        "endpoint",
        "fast_path_excludes",  # extractors that must find nothing in a response on the fast path
        "fast_rule",  # the rule of the fast path for completions; None: there is no fast path
        "first_token",  # seconds from a request to the first output of a stream; None: no limit
        "has_callouts",
        "is_image_body",  # a non-streaming response body may be an image
        "is_text_body",  # a non-streaming response body is itself the text, so that it need not be JSON
        "keeps_completion",  # a legacy completion is sent as such, not as a chat
        "keeps_session",  # the upstream's session is kept for the client's next turn
        "max_fast_values",  # JSON values of a body that the fast path reads
        "may_cut",  # the bridge cuts at stop strings, also at those that the upstream should cut at
        "may_leave_out",  # a template may leave out parameters of one request and send them in another
        "multiple_choices",  # one call gives as many choices as the client requests
        "passthrough",  # upstream responses are OpenAI's own, and of the kind that the client requests
        "reads",  # members of the request document that the request and callouts read
        "request_template",
        "required",  # what of the request document has to be computed
        "required_with_prompt",  # the same if a prompt is rendered
        "route",
        "stream_rule",  # how a stream is read; None: the upstream is called without streaming
        "transport",  # of the call for the response
    )

    def __init__(self, route: Route, endpoint: EndpointSpec, *, streaming: bool) -> None:
        response = route.response
        # An upstream that only streams, or cannot stream, is called the way it can be called.
        streams = (
            endpoint.streams
            and response.streaming is not None
            and (streaming or response.non_streaming is None)
        )
        self.route = route
        self.endpoint = endpoint
        self.client_streams = streaming and endpoint.streams
        self.stream_rule = response.streaming if streams else None
        self.request_template = route.request.streaming if streams else route.request.non_streaming
        self.body_rule: BodyRule = self.request_template.body or UnchangedBody()
        session = route.callouts.session
        self.has_callouts = bool(route.callouts.all) or session is not None
        self.keeps_session = session is not None and session.is_kept and endpoint.streams
        self.changes_body = route.request.model is not None or (endpoint.streams and streams is not streaming)
        self._fixed_request: UpstreamRequest | None = None
        self.transport = route.transport
        # A response that the upstream does not stream has no output before its end.
        streams_both_ways = self.client_streams and self.stream_rule is not None
        self.first_token = route.transport.timeouts.first_token if streams_both_ways else None
        if self.first_token is not None:
            self.transport = route.transport.with_first_byte(self.first_token)
        self._plan_document()
        self._plan_parameters()
        self._plan_response()

    def _plan_document(self) -> None:
        """Decide what of the request document has to be computed."""
        route = self.route
        self.reads = self.request_template.reads | route.callouts.reads
        self.required = RequiredMembers.of(frozenset(map(str, self.reads)))
        self.required_with_prompt = RequiredMembers.of(self.required.names | route.request.prompt.variables)
        self.keeps_completion = self._keeps_completion()
        self.constants = {
            "endpoint": self.endpoint.path,
            "stream": self.stream_rule is not None,
            "timeout": route.transport.timeouts.response,
        }

    def _plan_parameters(self) -> None:
        """Decide what happens to the client's parameters."""
        route, body = self.route, self.body_rule
        templates = [call.template for call in route.callouts.all]
        if route.callouts.sends_request:
            templates.append(self.request_template)
        self._callout_bodies = [
            template.body for template in templates if template.method != "GET" and template.body is not None
        ]
        self.may_cut = route.emulate.stop
        self.may_leave_out = isinstance(body, TemplateBody) and (
            bool(body.template.guarded) or route.request.tools is not None
        )
        emulated = {name for name in ("stop", "n") if getattr(route.emulate, name)}
        sent = {name for name in PARAMETERS if self._is_sent(name)}
        self._handled = STRUCTURAL_MEMBERS | emulated | self.endpoint.bridge_parameters | sent

    def _plan_response(self) -> None:
        """Decide how the upstream response is read, and whether on a fast path."""
        rule = self.route.response.non_streaming
        text = rule.text if rule is not None and self.endpoint.streams else None
        self.is_text_body = text is not None and text.extractor.reads_document
        self.is_image_body = rule is not None and rule.images is IMAGE_BODY
        self.multiple_choices = self._has_multiple_choices()
        self.passthrough = self._is_passthrough()
        self.fast_rule = self._fast_rule()
        self.max_fast_values = min(self.route.limits.response_values, json.MAX_AT_ONCE)
        self.fast_path_excludes = () if self.fast_rule is None else _excluded(self.fast_rule)

    def dropped(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the client's parameters that are neither sent upstream nor emulated."""
        if self._handled.issuperset(body):
            return ()
        return tuple(
            name
            for name, value in body.items()
            if name not in self._handled
            and value is not None
            and not is_default(name, value, body)
            and not self._is_sent(name)
        )

    def request(self, scope: Scope, body: bytes | None, own: Mapping[str, str]) -> UpstreamRequest:
        """Return the upstream request with a body; `own` is the headers that carry the client's own key.

        Raises RequestError if a value cannot be part of a header.
        """
        fixed = self._fixed_request
        if fixed is None or own:
            template = self.request_template
            request = make_request(template, scope, body, {"Accept": self._accept} | dict(own))
            if template.literal and not own:
                self._fixed_request = request
            return request
        return UpstreamRequest(
            fixed.method, fixed.urls, fixed.headers, body, fixed.auth, fixed.websocket_limit
        )

    def sends(self, name: str) -> bool:
        """Return whether the request or a callout sends a parameter upstream."""
        if name in self.reads or any(body.forwards(name) for body in self._callout_bodies):
            return True
        return "prompt" in self.required.names and name in self.route.request.prompt.variables

    def _is_sent(self, name: str) -> bool:
        """Return whether a parameter is sent upstream, under its name or under an equivalent one."""
        if self.sends(name):
            return True
        tools = self.route.request.tools
        if name == "parallel_tool_calls" and tools and tools.choice_sets_parallel:
            return self.sends("tool_choice")
        return name == "max_completion_tokens" and self.sends("max_tokens")

    def _keeps_completion(self) -> bool:
        endpoint, route = self.endpoint, self.route
        if endpoint.has_messages or not endpoint.streams or isinstance(self.body_rule, TemplateBody):
            return False
        if route.emulate.completions is not None:
            return route.emulate.completions is False
        if route.is_passthrough or "chat" not in route.serves:
            return True
        return any("endpoint" in url.reads for url in self.request_template.urls)

    @property
    def reads_choices(self) -> bool:
        """Return whether a response may have several choices."""
        slots = self.stream_rule.slots if self.stream_rule else self.route.response.non_streaming
        return slots is not None and slots.choices is not None

    def _has_multiple_choices(self) -> bool:
        if not self.endpoint.has_choices:
            return False
        if not self.endpoint.streams:
            return self.sends("n")
        return self.reads_choices and self.sends("n")

    def _is_passthrough(self) -> bool:
        response = self.route.response
        if (self.stream_rule is not None) is not self.client_streams:
            return False
        return response.openai_streaming if self.client_streams else response.openai_non_streaming

    def _fast_rule(self) -> ResponseSlots | None:
        """Return the rule of responses with one text, finish reason and usage; None: others are possible."""
        route, rule = self.route, self.route.response.non_streaming
        if self.client_streams or self.stream_rule is not None or not self.endpoint.streams:
            return None
        if rule is None or rule.text is None or self.has_callouts or route.emulate.usage == "estimate":
            return None
        if self.passthrough:
            return rule if self.endpoint.has_messages else None
        text = rule.text
        more = rule.choices or rule.inside or self.is_text_body or text != TextSlot(text.extractor)
        more = more or route.emulate.reasoning is not None
        return None if more or route.response.openai_non_streaming else rule

    @property
    def _accept(self) -> str:
        # Strict servers refuse a list, and `text/event-stream`.
        if self.stream_rule is not None or self.is_text_body or self.is_image_body:
            return "*/*"
        return "application/json"


def _excluded(rule: ResponseSlots) -> tuple[Extractor, ...]:
    """Return the extractors of what a completion on the fast path cannot contain."""
    extractors = (rule.reasoning.extractor if rule.reasoning else None, rule.tool_calls, rule.logprobs)
    return tuple(extractor for extractor in extractors if extractor is not None)
