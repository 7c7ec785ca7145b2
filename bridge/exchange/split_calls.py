"""Plan of a request: how many upstream calls the request takes, and what each call carries."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING

from bridge.core.errors import RequestError
from bridge.exchange.endpoints import EXCHANGE_PARTS
from bridge.exchange.request_builder import RequestBuilder
from bridge.exchange.request_limits import check_call_count
from bridge.exchange.upstream_calls import UpstreamCalls, make_call
from bridge.expressions.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.core.json import JSONObject
    from bridge.exchange.call_parts import CallPart
    from bridge.exchange.request_context import RequestContext
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.endpoint_plan import EndpointPlan

__all__ = ["check_dropped", "split_calls"]


def check_dropped(plan: EndpointPlan, dropped: tuple[str, ...]) -> None:
    """Raise RequestError if the route rejects parameters that are neither sent upstream nor emulated."""
    # Vectors of another length than `dimensions` are an error: the upstream's own length may be the same.
    rejected = [name for name in dropped if name != "dimensions"]
    if rejected and plan.route.request.rejects_unsupported:
        raise RequestError(
            400,
            f"Unsupported parameter: '{rejected[0]}' is not supported with this model",
            param=rejected[0],
            code="unsupported_parameter",
        )


def split_calls(plan: EndpointPlan, context: RequestContext) -> tuple[UpstreamCall, ...] | UpstreamCalls:
    """Return the upstream calls that a request takes. Raises RequestError."""
    body = context.body
    calls, choices = _calls_and_choices(plan, body) if "n" in body else (1, 1)
    upstream_body = _upstream_body(plan, body, calls) if plan.changes_body or calls > 1 else body
    parts = EXCHANGE_PARTS[plan.endpoint.name].split(plan, upstream_body)
    count = len(parts)
    if count * calls == 1:  # nearly all requests
        (part,) = parts
        return (make_call(RequestBuilder(plan, context, part, choices * part.inputs)),)
    if plan.endpoint.has_choices:  # vectors have a limit of inputs
        check_call_count(plan.route.limits, count, calls, plan.endpoint.input_member)
    return UpstreamCalls(count * calls, _builders(plan, context, parts, calls, choices))


def _builders(
    plan: EndpointPlan, context: RequestContext, parts: Iterable[CallPart], calls: int, choices: int
) -> Iterator[RequestBuilder]:
    """Yield the builders of `calls` calls for each part, of which each brings `choices` choices."""
    number = first_index = 0
    for part in parts:
        make = partial(RequestBuilder, plan, context, part, choices * part.inputs)
        if calls > 1 and not plan.has_callouts:  # callouts add what they find to the document of their call
            make = partial(copy, make())
        for _ in range(calls):
            builder = make()
            builder.number, builder.first_index = number, first_index
            yield builder
            number += 1
            first_index += builder.choices


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
