"""Builder of the upstream requests of one call: the client's body and the route's rules in, requests out."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.exchange.callout_request import build_callout
from bridge.exchange.conversation_key import new_turn
from bridge.exchange.request_document import request_document
from bridge.expressions.scope import Scope
from bridge.routes.rules.body_rules import TemplateBody

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.json import JSONObject
    from bridge.exchange.call_parts import CallPart
    from bridge.exchange.request_context import RequestContext
    from bridge.routes.rules.endpoint_plan import EndpointPlan
    from bridge.routes.rules.request_template import Callout, UpstreamRequest
    from bridge.routes.rules.route import Route

__all__ = ["RequestBuilder"]

_MAX_AT_ONCE = 8 * 2**20  # bytes of a client's body, whose strings are encoded in up to some 50 ms

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class RequestBuilder:
    """The builder of one upstream call's request and callouts."""

    __slots__ = (
        "_data",  # the client's bytes, if the upstream is to receive an unchanged body
        "_messages",  # that the rules read
        "body",  # the client's body as the upstream is to receive it
        "choices",  # choices, vectors or images that the call is to bring
        "context",
        "document",  # the request document, which the rules of requests read
        "first_index",  # of these choices, among the choices of all calls
        "number",  # of the call, from 0
        "plan",
        "stop_strings",  # at which the bridge itself cuts the text
        "text",  # the one text of a call that is not a chat
    )

    def __init__(
        self,
        plan: EndpointPlan,
        context: RequestContext,
        part: CallPart,
        choices: int,
    ) -> None:
        self.plan = plan
        self.context = context
        self.body = body = part.body
        self._data = context.data if body is context.body or body == context.body else None
        self._messages = part.messages
        self.text = part.text
        self.choices = choices
        self.first_index = self.number = 0
        self._make_document()

    @property
    def route(self) -> Route:
        """Return the route of the request."""
        return self.plan.route

    @property
    def messages(self) -> list[JSONObject]:
        """Return the transcript as the client sent it."""
        messages: list[JSONObject] = self.context.body.get("messages") or self._messages
        return messages

    def estimate_prompt(self) -> int | None:
        """Return an estimate of the prompt's tokens, None if token counts are not estimated."""
        estimate = self.plan.endpoint.estimate_prompt
        if estimate is None:
            return None
        if self.route.emulate.usage != "estimate" and self.context.client.charge is None:
            return None
        return estimate(self.body, self._messages)

    def drop_history(self) -> None:
        """Build from the newest turn only: the upstream's session holds the conversation before it."""
        self._messages = [*new_turn(self._messages)]
        if "messages" in self.body:
            self.body = {**self.body, "messages": self._messages}
        self._data = None
        self._make_document()

    def release(self) -> None:
        """Free the body and the document, which a call that is over does not need."""
        self.body = self.document = dict[str, Any]()
        self._messages, self._data = [], None

    def build(self) -> UpstreamRequest:
        """Return the request whose response is the client's. Raises RequestError."""
        plan, scope, rule = self.plan, Scope(self.document), self.plan.body_rule
        credentials = _NO_HEADERS if self.context.authorization is None else self._client_credentials()
        if plan.request_template.method == "GET":
            return plan.request(scope, None, credentials)
        streams = plan.stream_rule is not None
        if (
            self._data is not None
            and rule.leaves_unchanged(self.body)
            and (streams or "stream_options" not in self.body)
        ):
            return plan.request(scope, self._data, credentials)
        body = rule.build(scope, self.body)
        if not streams and type(rule) is not TemplateBody and "stream_options" in body:
            # Upstreams reject the options of a stream without a stream.
            body = {name: value for name, value in body.items() if name != "stream_options"}
        dumps = json.dumps if len(self.context.data) <= _MAX_AT_ONCE else json.dumps_in_steps
        return plan.request(scope, dumps(body), credentials)

    def build_callout(self, callout: Callout, newest: Any = MISSING) -> UpstreamRequest:
        """Return the request of a callout; `newest` is the response that may contain the callout's URL.

        Raises UpstreamError if that response contains no URL.
        """
        return build_callout(callout, self.document, self.body, self._client_credentials(), newest)

    def _make_document(self) -> None:
        """Compute the request document and the stop strings that depend on it."""
        plan = self.plan
        self.document = document = request_document(plan, self.body, self._messages, self.text, self.context)
        if plan.has_callouts:
            # Members that callouts are to find never come from the client: requests may be sent to them.
            for name in plan.route.callouts.extracted_members:
                document.pop(name, None)
        may_cut = plan.may_cut and ("stop" in document or plan.route.request.prompt.cut)
        self.stop_strings = self._local_stop_strings() if may_cut else ()

    def _local_stop_strings(self) -> tuple[str, ...]:
        """Return the stop strings, and those that the prompt contains itself.

        Some servers do not cut at the stop strings that they receive, so that these are cut at too.
        """
        plan, document = self.plan, self.document
        strings = tuple(document.get("stop", ()))
        turn_markers = plan.route.request.prompt.cut
        if turn_markers and self.text is None:
            prompt = str(document.get("prompt", ""))
            strings += tuple(marker for marker in turn_markers if marker.strip() in prompt)
        return strings

    def _client_credentials(self) -> Mapping[str, str]:
        authorization = self.context.authorization
        if self.route.request.forwards_client_key and authorization:
            return {"Authorization": authorization}
        return _NO_HEADERS
