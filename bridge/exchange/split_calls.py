"""Plan of a request: how many upstream calls the request takes, and what each call carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.errors import RequestError
from bridge.exchange.endpoints import EXCHANGE_PARTS
from bridge.exchange.request_builder import RequestBuilder
from bridge.expressions.scope import Scope

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.exchange.request_context import RequestContext
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = ["split_calls", "unsupported_parameters"]

_NEVER_DROPPED = {"dimensions"}  # vectors of another length would be useless


def unsupported_parameters(plan: EndpointPlan, body: JSONObject) -> tuple[str, ...]:
    """Return the client's parameters that are neither sent upstream nor emulated.

    Raises RequestError if the route rejects these parameters.
    """
    dropped = plan.dropped(body)
    if not dropped:
        return dropped
    rejects_all = plan.route.request.rejects_unsupported
    rejected = [name for name in dropped if rejects_all or name in _NEVER_DROPPED]
    if rejected:
        raise RequestError(
            400,
            f"Unsupported parameter: '{rejected[0]}' is not supported with this model",
            param=rejected[0],
            code="unsupported_parameter",
        )
    return dropped


def split_calls(plan: EndpointPlan, context: RequestContext) -> list[RequestBuilder]:
    """Return the builders of the upstream calls that a request takes. Raises RequestError."""
    body = context.body
    calls, choices = _calls_and_choices(plan, body) if "n" in body else (1, 1)
    upstream_body = _upstream_body(plan, body, calls) if plan.changes_body or calls > 1 else body
    builders: list[RequestBuilder] = []
    first_index = 0
    for part in EXCHANGE_PARTS[plan.endpoint.name].split(plan, upstream_body):
        data = context.data if part.body is body or part.body == body else None
        for _ in range(calls):
            builder = RequestBuilder(
                plan,
                context,
                part,
                data,
                choices=choices * part.inputs,
                first_index=first_index,
                number=len(builders),
            )
            builders.append(builder)
            first_index += builder.choices
    return builders


def _calls_and_choices(plan: EndpointPlan, body: JSONObject) -> tuple[int, int]:
    """Return how many calls each part of a request takes, and how many choices each call brings."""
    n = int(body["n"] or 1)
    if not plan.endpoint.has_choices:
        return 1, 1
    if plan.multiple_choices:
        return 1, n
    return (n if plan.route.emulate.n else 1), 1


def _upstream_body(plan: EndpointPlan, body: JSONObject, calls: int) -> JSONObject:
    """Return the client's body as the upstream is to receive it."""
    if plan.route.request.model is not None:
        body = {**body, "model": str(plan.route.request.model(Scope(body)))}
    if calls > 1:
        body = {name: value for name, value in body.items() if name != "n"}
    streams = plan.stream_rule is not None
    if plan.endpoint.streams and streams is not plan.client_streams:
        body = {**body, "stream": streams}
    return body
