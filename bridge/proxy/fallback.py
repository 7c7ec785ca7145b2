"""The fallback of a route that failed before the first byte for the client (`fallback`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.core.errors import BridgeError
    from bridge.exchange.request_context import RequestContext
    from bridge.proxy.client_response import ResponseWriter
    from bridge.telemetry.request_log import RequestRecord

__all__ = ["BRIDGE_DROPPED", "BRIDGE_ROUTE", "fallback_context"]

BRIDGE_ROUTE, BRIDGE_DROPPED = "X-Bridge-Route", "X-Bridge-Dropped"  # headers that depend on the route


def fallback_context(
    context: RequestContext, error: BridgeError, response: ResponseWriter, record: RequestRecord
) -> RequestContext | None:
    """Return the request for the fallback of its route; None if the failure is final.

    A client's own error (a 4xx other than 429) would be one on every route.
    """
    fallback = context.route.fallback
    if fallback is None or response.started or not (error.status >= 500 or error.status == 429):
        return None
    if len(context.data) > fallback.limits.body:
        return None
    record.fall_back(error, fallback.name)
    response.remove_header(BRIDGE_ROUTE)
    response.remove_header(BRIDGE_DROPPED)
    return replace(
        context,
        route=fallback,
        authorization=context.authorization if fallback.request.forwards_client_key else None,
        conversation=None,  # the client's header names a conversation of the first route
    )
