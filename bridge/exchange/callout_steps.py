"""Single callouts: the commands of one callout, repeated until its condition holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.exchange.commands import FetchedResponse, SendRequest, Sleep
from bridge.exchange.decode.frame_document import INVALID_JSON, parse_json
from bridge.expressions.scope import Scope
from bridge.openai.error_bodies import excerpt, has_error

if TYPE_CHECKING:
    from collections.abc import Generator

    from bridge.exchange.commands import Command
    from bridge.exchange.request_builder import RequestBuilder
    from bridge.routes.rules.request_template import Callout

__all__ = ["MAX_CALLOUT_BODY", "TRANSIENT_STATUSES", "CalloutSteps"]

MAX_CALLOUT_BODY = 2**20  # bytes of the response to a callout that is not the client's response
TRANSIENT_STATUSES = (429, 502, 503, 504)

_MAX_EXCERPT = 200  # characters of a response in an error text
_MAX_FAILURES = 3  # transient failures of a repeated callout in a row: the upstream's job goes on meanwhile
_BACKOFF = 1.5  # factor of each interval between two requests to the next
_MAX_INTERVAL_FACTOR = 10  # of the longest interval to the first
_TRANSIENT_FAILURES = (UpstreamFailure.CONNECT, UpstreamFailure.DISCONNECT, UpstreamFailure.TIMEOUT)


class CalloutSteps:
    """The callouts of one upstream call. The generators yield commands and raise UpstreamError."""

    __slots__ = (
        "_builder",
        "begun",  # the upstream has, as far as is known, begun something that has to be ended
        "newest",  # document of the newest response to a callout
    )

    def __init__(self, builder: RequestBuilder) -> None:
        self._builder = builder
        self.begun = False
        self.newest: Any = MISSING

    def applies(self, callout: Callout) -> bool:
        """Return whether the condition of a callout holds."""
        return callout.when is None or callout.when.holds(Scope(self._builder.document))

    def send(self, callout: Callout, *, begins: bool = False) -> SendRequest:
        """Return the command that sends a callout whose response is not the client's."""
        request = self._builder.build_callout(callout, self.newest)
        return SendRequest(request, MAX_CALLOUT_BODY, begins=begins)

    def run(self, callout: Callout, *, begins: bool = False) -> Generator[Command, Any, None]:
        """Send a callout until its condition holds, and add its values to the request document.

        `begins`: a successful callout begins something that has to be ended.
        """
        response: FetchedResponse = yield self.send(callout, begins=True)
        started_at, interval = response.at, callout.interval
        while True:
            scope = self.check(response)
            self.begun = begins
            if callout.until is None or callout.until.holds(scope):
                break
            interval = yield from self.wait(callout, started_at, response.at, interval)
            response = yield from self.repeat(callout)
        for name, extractor in callout.values:
            value = extractor.read(scope)
            if value is MISSING:
                body = excerpt(response.body.decode("utf-8", "replace"), _MAX_EXCERPT)
                reason = f"`{extractor}` found no `{name}` in the response of `{callout.name}`"
                raise UpstreamError(UpstreamFailure.EMPTY, f"{reason}: {body}", reason=reason)
            self._builder.document[name] = value

    def wait(
        self, callout: Callout, started_at: float, now: float, interval: float
    ) -> Generator[Command, Any, float]:
        """Wait for an interval within the callout's timeout, and return the next interval."""
        seconds_left = started_at + callout.timeout - now
        if seconds_left <= 0:
            message = f"no response was ready within {callout.timeout:g} s (`{callout.name}.timeout`)"
            raise UpstreamError(UpstreamFailure.TIMEOUT, message, status=504)
        yield Sleep(min(interval, seconds_left))
        return min(interval * _BACKOFF, callout.interval * _MAX_INTERVAL_FACTOR)

    def repeat(self, callout: Callout) -> Generator[Command, Any, FetchedResponse]:
        """Send a callout again, several times in a row if the upstream fails for a moment."""
        request = self._builder.build_callout(callout, self.newest)
        command = SendRequest(request, self._builder.route.limits.answer)
        for _ in range(_MAX_FAILURES):
            try:
                response: FetchedResponse = yield command
                if response.status not in TRANSIENT_STATUSES:
                    return response
            except UpstreamError as error:
                if error.kind not in _TRANSIENT_FAILURES:
                    raise
            yield Sleep(callout.interval)
        last: FetchedResponse = yield command
        return last

    def check(self, response: FetchedResponse) -> Scope:
        """Return a response as the scope of rules. Raises UpstreamError for a response with an error."""
        text = response.body.decode("utf-8", "replace")
        doc, _ = parse_json(response.body, self._builder.route.limits.response_values)
        if doc is INVALID_JSON:
            doc = MISSING
        scope = Scope(doc, headers=response.headers)
        errors = self._builder.route.response.errors
        rule = errors.match(scope)
        if rule or not 200 <= response.status < 300 or has_error(doc):
            raise errors.error(response.status, scope, text, rule)
        self.newest = doc
        return scope
