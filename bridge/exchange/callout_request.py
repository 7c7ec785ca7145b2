"""Requests of callouts: further calls to the upstream, such as one that opens a session."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.urls import origin
from bridge.expressions.scope import Scope
from bridge.openai.error_bodies import excerpt
from bridge.routes.rules.request_template import make_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.json import JSONObject
    from bridge.exchange.commands import StoredSession
    from bridge.routes.rules.request_template import Callout, UpstreamRequest
    from bridge.routes.rules.route import Route

__all__ = ["build_callout", "close_request"]

_MAX_EXCERPT = 100  # characters of an invalid URL in an error text

# A request line can carry these characters only, and an upstream may send the bridge nowhere but to HTTP.
_URL = re.compile(r"https?://[!-~]+")


def build_callout(
    callout: Callout,
    document: JSONObject,
    body: JSONObject,
    client_credentials: Mapping[str, str],
    newest: Any = MISSING,
) -> UpstreamRequest:
    """Return the request of a callout; `newest` is the response that may contain the callout's URL.

    Raises UpstreamError if that response contains no URL.
    """
    template, scope = callout.template, Scope(document)
    data = json.dumps(template.body.build(scope, body)) if template.body else None
    if template.origins is None:
        return make_request(template, scope, data, client_credentials)
    url = callout.url.read(Scope(newest)) if callout.url else template.urls[0](scope)
    if not isinstance(url, str) or not _URL.fullmatch(url) or origin(url) is None:
        value = "nothing" if url is MISSING else excerpt(json.dumps(url).decode(), _MAX_EXCERPT)
        raise UpstreamError(
            UpstreamFailure.MALFORMED,
            f"`{callout.name}.url` found {value} in a response: expected a URL",
            reason=f"`{callout.name}.url` found no URL in a response",
        )
    if not template.origins.allow(url):
        raise UpstreamError(
            UpstreamFailure.MALFORMED,
            f"`{callout.name}.url` found a URL of {origin(url)} in a response: expected an origin of the "
            "route, or one of `upstream.url_origins`",
        )
    headers = client_credentials if template.may_send_credentials(url) else {}
    return make_request(template, scope, data, headers, url=url)


def close_request(route: Route, session: StoredSession) -> UpstreamRequest | None:
    """Return the request that closes a stored session, None if the route has no such request."""
    rule = route.callouts.session
    callout = rule.close if rule else None
    if callout is None:
        return None
    document = {**session.members, "session": session.id}
    if callout.when is not None and not callout.when.holds(Scope(document)):
        return None
    return build_callout(callout, document, {}, {})
