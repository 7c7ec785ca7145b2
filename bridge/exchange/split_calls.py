"""Decides how a request is asked of its server: whole or streamed, in how many calls, with what left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.errors import RequestError
from bridge.exchange.endpoints import ENDPOINTS
from bridge.exchange.request_builder import RequestBuilder
from bridge.expressions.scope import Scope

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.routes.rules.endpoint_plan import EndpointPlan
    from bridge.routes.rules.route import Route

__all__ = ["split_calls"]


def split_calls(
    course: EndpointPlan, body: JSONObject, data: bytes, now: float, authorization: str | None
) -> tuple[list[RequestBuilder], tuple[str, ...]]:
    """The calls to make, and the client's parameters that reach neither the server nor an emulation.

    `body` is the client's, read from `data`. Raises RequestError where it cannot be.
    """
    dropped = course.dropped(body)
    if dropped:
        _check_dropped(course.route, dropped)
    calls, answers = _calls(course, body) if "n" in body else (1, 1)
    changed = _changed(course, body, calls) if course.changes_body or calls > 1 else body
    if course.endpoint.has_messages and calls == 1:  # as nearly all are: there is nothing to part
        sent = data if changed is body or changed == body else None
        asking = RequestBuilder(
            course, changed, sent, body, body["messages"], None, now, authorization, answers
        )
        return [asking], dropped
    askings: list[RequestBuilder] = []
    first = 0
    for part in ENDPOINTS[course.endpoint.name].split(course, changed):
        for _ in range(calls):
            sent = data if part.body == body else None
            told = answers * part.inputs
            asking = RequestBuilder(
                course, part.body, sent, body, part.messages, part.text, now, authorization
            )
            asking.answers, asking.first_index, asking.number = told, first, len(askings)
            askings.append(asking)
            first += told
    return askings, dropped


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


def _changed(course: EndpointPlan, body: JSONObject, calls: int) -> JSONObject:
    """The client's body as the server is to see it."""
    if course.route.request.model is not None:
        body = {**body, "model": str(course.route.request.model(Scope(body)))}
    if calls > 1:
        body = {name: value for name, value in body.items() if name != "n"}
    streams = course.stream_rule is not None
    if course.endpoint.streams and streams is not course.client_streams:
        body = {**body, "stream": streams}
    return body


def _calls(course: EndpointPlan, body: JSONObject) -> tuple[int, int]:
    """How many calls each prompt takes, and how many answers a call gives: `n` calls where that is one."""
    wanted = int(body["n"] or 1)
    if not course.endpoint.has_choices:
        return 1, 1
    if course.multiple_choices:
        return 1, wanted
    return (wanted if course.route.emulate.n else 1), 1


_NEVER_DROPPED = {"dimensions"}  # vectors of another length are of no use
