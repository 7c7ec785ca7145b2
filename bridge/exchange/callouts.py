"""Callouts of one upstream call: its session, the calls before the response, polling, and cancellation.

    before() ─▶ AcquireSession, SendRequest, Sleep, DeliverResponse   the caller sends back each result
    after()  ─▶ SendRequest, ReleaseSession                           however the call ended

Whatever a call opens is closed, and whatever it begins is cancelled if its response is no longer needed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bridge.core.errors import BridgeError
from bridge.exchange.callout_steps import TRANSIENT_STATUSES, CalloutSteps
from bridge.exchange.commands import DeliverResponse, FetchedResponse, SendRequest
from bridge.exchange.session_steps import SessionSteps

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from bridge.core.deltas import Delta
    from bridge.exchange.commands import Command, ReleaseSession
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.request_template import Callout

__all__ = ["Callouts"]


class Callouts:
    """The callouts of one upstream call."""

    __slots__ = (
        "_call",
        "_job_ended",  # the job that is polled has ended, well or not
        "_polls",
        "_rules",
        "_session",  # None: the route has no sessions
        "_steps",
    )

    def __init__(self, call: UpstreamCall) -> None:
        self._call = call
        self._rules = call.plan.route.callouts
        self._steps = CalloutSteps(call.builder)
        rule = self._rules.session
        self._session = None if rule is None else SessionSteps(call, rule, self._steps)
        self._polls = False
        self._job_ended = False

    def record_output(self, deltas: Sequence[Delta]) -> None:
        """Add output to the transcript by which the session is found in the next turn."""
        if self._session is not None:
            self._session.record_output(deltas)

    def before(self) -> Generator[Command, Any, bool]:
        """Yield the commands before the response. Return whether these delivered the response themselves.

        Raises UpstreamError.
        """
        if self._session is not None:
            yield from self._session.acquire()
        for callout in self._rules.calls:
            if self._steps.applies(callout):
                yield from self._steps.run(callout, begins=True)
        poll = self._rules.poll
        if poll is None or not self._steps.applies(poll):
            self._steps.begun = True
            return False
        yield from self._poll(poll)
        return True

    def after(self) -> Iterator[SendRequest | ReleaseSession]:
        """Yield the commands after the call. Every command is yielded once, also by repeated calls."""
        begun, self._steps.begun = self._steps.begun, False
        ended = self._job_ended if self._polls else self._call.succeeded or self._call.was_refused
        cancel = self._rules.cancel
        if begun and not ended and cancel is not None:
            yield from self._cancel(cancel)
        if self._session is not None:
            yield from self._session.release()

    def _cancel(self, callout: Callout) -> Iterator[SendRequest]:
        """Yield the request that cancels, unless no response has named the URL to send it to."""
        command = None
        with suppress(BridgeError):
            command = self._steps.send(callout) if self._steps.applies(callout) else None
        if command is not None:
            yield command

    def _poll(self, poll: Callout) -> Generator[Command, Any, None]:
        """Poll until the response is complete. Each polled response is the next part of a stream."""
        call, rules, steps = self._call, self._rules, self._steps
        self._polls = True
        if rules.sends_request and poll.template is not call.plan.route.request.non_streaming:
            limit = call.plan.route.limits.answer
            response: FetchedResponse = yield SendRequest(call.request(), limit, begins=True)
        else:
            response = yield from steps.repeat(poll)
        started_at, interval = response.at, poll.interval
        while True:
            steps.begun = True
            # A job that has failed need not be cancelled. The job of a busy upstream goes on.
            self._job_ended = response.status not in TRANSIENT_STATUSES
            scope = steps.check(response)
            is_complete = poll.until is None or poll.until.holds(scope)
            self._job_ended = is_complete
            if is_complete or call.plan.stream_rule is not None:
                yield DeliverResponse(response)
            if is_complete or call.decoder.finished:
                return
            interval = yield from steps.wait(poll, started_at, response.at, interval)
            response = yield from steps.repeat(poll)
