"""Decides how a request is asked of its server: whole or streamed, in how many calls, with what left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.errors import RequestError
from bridge.exchange.endpoints import EXCHANGE_PARTS
from bridge.exchange.request_builder import RequestBuilder
from bridge.expressions.scope import Scope

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.routes.rules.endpoint_plan import EndpointPlan
    from bridge.routes.rules.route import Route

__all__ = ["split_calls"]


def split_calls(
    plan: EndpointPlan, body: JSONObject, data: bytes, now: float, authorization: str | None
) -> tuple[list[RequestBuilder], tuple[str, ...]]:
    """The calls to make, and the client's parameters that reach neither the server nor an emulation.

    `body` is the client's, read from `data`. Raises RequestError where it cannot be.
    """
    dropped = plan.dropped(body)
    if dropped:
        _check_dropped(plan.route, dropped)
    calls, answers = _calls(plan, body) if "n" in body else (1, 1)
    changed = _changed(plan, body, calls) if plan.changes_body or calls > 1 else body
    if plan.endpoint.has_messages and calls == 1:  # as nearly all are: there is nothing to part
        sent = data if changed is body or changed == body else None
        builder = RequestBuilder(
            plan, changed, sent, body, body["messages"], None, now, authorization, answers
        )
        return [builder], dropped
    builders: list[RequestBuilder] = []
    first = 0
    for part in EXCHANGE_PARTS[plan.endpoint.name].split(plan, changed):
        for _ in range(calls):
            sent = data if part.body == body else None
            told = answers * part.inputs
            builder = RequestBuilder(
                plan, part.body, sent, body, part.messages, part.text, now, authorization
            )
            builder.answers, builder.first_index, builder.number = told, first, len(builders)
            builders.append(builder)
            first += told
    return builders, dropped


def _check_dropped(route: Route, dropped: tuple[str, ...]) -> None:
    refused = (
        dropped if route.request.rejects_unsupported else [name for name in dropped if name in _NEVER_DROPPED]
    )
    if refused:
        raise RequestError(
            400,
            f"Unsupported parameter: '{refused[0]}' is not supported with this model",
            param=refused[0],
            code="unsupported_parameter",
        )


def _changed(plan: EndpointPlan, body: JSONObject, calls: int) -> JSONObject:
    """The client's body as the server is to see it."""
    if plan.route.request.model is not None:
        body = {**body, "model": str(plan.route.request.model(Scope(body)))}
    if calls > 1:
        body = {name: value for name, value in body.items() if name != "n"}
    streams = plan.stream_rule is not None
    if plan.endpoint.streams and streams is not plan.client_streams:
        body = {**body, "stream": streams}
    return body


def _calls(plan: EndpointPlan, body: JSONObject) -> tuple[int, int]:
    """How many calls each prompt takes, and how many answers a call gives: `n` calls where that is one."""
    wanted = int(body["n"] or 1)
    if not plan.endpoint.has_choices:
        return 1, 1
    if plan.multiple_choices:
        return 1, wanted
    return (wanted if plan.route.emulate.n else 1), 1


_NEVER_DROPPED = {"dimensions"}  # vectors of another length are of no use
