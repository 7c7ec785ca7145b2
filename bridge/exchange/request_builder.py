"""Makes the requests of one upstream call: the documents of the rules in, bytes out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.request_document import request_document
from bridge.expressions.scope import Scope
from bridge.openai.error_bodies import excerpt
from bridge.routes.rules.body_rules import TemplateBody, UnchangedBody
from bridge.routes.rules.request_template import make_request, origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.json import JSONObject
    from bridge.routes.rules.endpoint_plan import EndpointPlan
    from bridge.routes.rules.request_template import Callout, UpstreamRequest
    from bridge.routes.rules.route import Route

__all__ = ["RequestBuilder", "build_callout"]


@dataclass(slots=True)
class RequestBuilder:
    """What is asked of the server in one call.

    `body` is the client's as this server is to see it, `data` its bytes where nothing was changed in it,
    `raw` the client's own. `messages` and, of a legacy completion, `text` are what the rules read.
    `authorization`: the client's header, for routes that pass it. `answers` are awaited (choices, vectors,
    images), the `first` of them at that place in the reply; `number`: how many calls are before it.
    """

    plan: EndpointPlan
    body: JSONObject
    data: bytes | None
    raw: JSONObject
    messages: list[JSONObject]
    text: str | None
    now: float
    authorization: str | None
    answers: int = 1
    first_index: int = 0
    number: int = 0
    document: JSONObject = field(init=False)

    @property
    def route(self) -> Route:
        """The route that it takes."""
        return self.plan.route

    def _cuts(self) -> tuple[str, ...]:
        """The stop strings that the server is not told of, or not whole."""
        plan, document = self.plan, self.document
        cuts = () if plan.sends_stop else tuple(document.get("stop", ()))
        if plan.route.request.prompt.cut and self.text is None:
            prompt = str(document.get("prompt", ""))
            cuts += tuple(string for string in plan.route.request.prompt.cut if string.strip() in prompt)
        return cuts

    def estimate(self) -> int | None:
        """About how many tokens are asked, where the route wants that of a server that tells none."""
        estimate = self.plan.endpoint.estimate_prompt
        if self.route.emulate.usage != "estimate" or estimate is None:
            return None
        return estimate(self.body, self.messages)

    def make_document(self) -> tuple[str, ...]:
        """Compute what the request and the calls around it look at; the stop strings that are cut here."""
        plan = self.plan
        self.document = document = request_document(
            plan, self.body, self.messages, self.text, self.raw, self.now
        )
        if plan.has_callouts:
            # What a call is to find is never what a client says it would: it may be where a request goes.
            for name in plan.route.callouts.extracted_members:
                document.pop(name, None)
        may_cut = plan.may_cut and ("stop" in document or plan.route.request.prompt.cut)
        return self._cuts() if may_cut else ()

    def build_callout(self, call: Callout, newest: Any = MISSING) -> UpstreamRequest:
        """The request of a call around the main one; `newest` is the answer that may hold its URL.

        Raises UpstreamError where a server's answer gave no URL.
        """
        return build_callout(call, self.document, self.body, self._client_credentials(), newest)

    def build(self) -> UpstreamRequest:
        """The request whose answer is the client's."""
        plan, scope = self.plan, Scope(self.document)
        own = self._client_credentials() if plan.route.request.forwards_client_key else _NOTHING
        if plan.request_template.method == "GET":
            return plan.request(scope, None, own)
        streams, rule = plan.stream_rule is not None, plan.body_rule
        if (
            self.data is not None
            and type(rule) is UnchangedBody
            and (streams or "stream_options" not in self.body)
        ):
            return plan.request(scope, self.data, own)
        built = rule.build(scope, self.body)
        if not streams and type(rule) is not TemplateBody and "stream_options" in built:
            # Servers refuse the options of a stream where none is asked for.
            built = {name: value for name, value in built.items() if name != "stream_options"}
        return plan.request(scope, json.dumps(built), own)

    def _client_credentials(self) -> Mapping[str, str]:
        if self.route.request.forwards_client_key and self.authorization:
            return {"Authorization": self.authorization}
        return _NOTHING


def build_callout(
    call: Callout, document: JSONObject, body: JSONObject, own: Mapping[str, str], newest: Any = MISSING
) -> UpstreamRequest:
    """The request of a call around an answer. `own`: headers with the client's own key.

    Raises UpstreamError where a server's answer gave no URL.
    """
    outgoing, scope = call.template, Scope(document)
    data = json.dumps(outgoing.body.build(scope, body)) if outgoing.body else None
    if outgoing.origins is None:
        return make_request(outgoing, scope, data, own)
    found = call.url.read(Scope(newest)) if call.url else outgoing.urls[0](scope)
    if not isinstance(found, str) or not _URL.fullmatch(found) or origin(found) is None:
        shown = "nothing" if found is MISSING else excerpt(json.dumps(found).decode(), 100)
        raise UpstreamError(
            UpstreamFailure.MALFORMED, f"`{call.name}.url` found no URL in an answer but {shown}"
        )
    return make_request(outgoing, scope, data, own if outgoing.may_send_credentials(found) else {}, url=found)


_NOTHING: Mapping[str, str] = MappingProxyType({})

# What a request line can hold, sent to where a bridge may be sent by a server.
_URL = re.compile(r"https?://[!-~]+")
