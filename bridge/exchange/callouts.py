"""The calls around one answer: its session, the calls ahead of it, polling, and what follows.

    before() ─▶ Find, Send, Wait, Take …     whoever does I/O sends back what came of each
    after()  ─▶ Send, Keep                   on every way out, as often as may be: each only once

What was opened is closed, and what was begun is cancelled when its answer is not wanted any more.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.core.errors import BridgeError, UpstreamError, UpstreamFailure
from bridge.exchange.commands import (
    AcquireSession,
    DeliverResponse,
    FetchedResponse,
    ReleaseSession,
    SendRequest,
    Sleep,
    StoredSession,
)
from bridge.exchange.conversation_key import conversation_key, history, new_turn
from bridge.exchange.request_builder import build_callout
from bridge.expressions.scope import Scope
from bridge.openai.encoders import fold_tool_call
from bridge.openai.error_bodies import excerpt, has_error

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from bridge.core.deltas import Delta
    from bridge.exchange.commands import Command
    from bridge.exchange.upstream_call import UpstreamCall
    from bridge.routes.rules.request_template import Callout, SessionRule, UpstreamRequest
    from bridge.routes.rules.route import Route

__all__ = ["Callouts", "close_request"]

_LARGEST = 2**20  # bytes of the answer of a call that is not the client's
_POLL_BACKOFF = 1.5  # by this each pause between two polls is longer than the one before,
_MAX_POLL_FACTOR = 10  # up to so many times the first
_MAX_POLL_FAILURES = 3  # so often in a row may a poll fail of no answer: the job goes on without us
_TRANSIENT_STATUSES = (429, 502, 503, 504)
_TRANSIENT_KINDS = (UpstreamFailure.CONNECT, UpstreamFailure.DISCONNECT, UpstreamFailure.TIMEOUT)


class Callouts:
    """The calls around one call's answer. `conversation`: what the client calls it, in a header."""

    __slots__ = (
        "_begun",
        "_call",
        "_conversation",
        "_newest",
        "_over",
        "_polls",
        "_said",
        "_session",
        "_tools",
    )  # fmt: skip

    def __init__(self, call: UpstreamCall, conversation: str | None) -> None:
        self._call = call
        self._conversation = conversation
        self._session: Any = MISSING
        self._newest: Any = MISSING  # the newest answer of a call
        self._begun = False  # a server works for us, so far as we know
        self._polls = False
        self._over = False  # what is polled has come to its end
        self._said: list[str] = []
        self._tools: dict[int, dict[str, Any]] = {}

    def record_output(self, deltas: Sequence[Delta]) -> None:
        """What is said, for the transcript."""
        for delta in deltas:
            if delta.choice:
                continue
            self._said.append(delta.text)
            for tool_call in delta.tool_calls or ():
                fold_tool_call(self._tools, tool_call)

    def before(self) -> Generator[Command, Any, bool]:
        """The steps ahead of the answer; whether it was taken on the way. Raises UpstreamError."""
        route = self._route
        if route.callouts.session is not None:
            yield from self._open_session(route.callouts.session)
        for callout in route.callouts.calls:
            if self._applies(callout):
                yield from self._run_callout(callout, begins=True)
        poll = route.callouts.poll
        if poll is None or not self._applies(poll):
            self._begun = True
            return False
        yield from self._poll(poll)
        return True

    def after(self) -> Iterator[SendRequest | ReleaseSession]:
        """What is to be done when the answer is over, or not wanted any more."""
        route, call = self._route, self._call
        begun, self._begun = self._begun, False
        over = self._over if self._polls else call.succeeded or call.refused
        if begun and route.callouts.cancel and not over:
            request = self._cancelling(route.callouts.cancel)
            if request is not None:
                yield SendRequest(request, _LARGEST)
        if route.callouts.session is not None:
            yield from self._ended(route.callouts.session)

    def _cancelling(self, cancel: Callout) -> UpstreamRequest | None:
        """The request that cancels; None where it is not wanted, or no answer has said where it goes."""
        with suppress(BridgeError):
            return self._call.builder.build_callout(cancel, self._newest) if self._applies(cancel) else None
        return None

    def _ended(self, session: SessionRule) -> Iterator[SendRequest | ReleaseSession]:
        """What becomes of the session."""
        call = self._call
        if call.succeeded and call.decoder.session is not MISSING:
            self._session = call.decoder.session  # some servers give each answer a name of its own
        if self._session is MISSING:
            return
        call.builder.document["session"] = self._session
        kept = StoredSession(self._session, call.replica or 0, self._members(session))
        self._session = MISSING
        key = self._store_key(session) if call.keeps_session and call.succeeded else None
        if key is not None:
            yield ReleaseSession(key, kept)
        elif session.close is not None and self._applies(session.close):
            yield SendRequest(call.builder.build_callout(session.close, self._newest), _LARGEST)

    def _open_session(self, session: SessionRule) -> Generator[Command, Any, None]:
        call = self._call
        key = self._lookup_key(session) if call.keeps_session else None
        kept: StoredSession | None = (yield AcquireSession(key)) if key is not None else None
        if kept is not None:
            call.send_new_turn_only()
            call.replica = kept.replica
            self._session = call.builder.document["session"] = kept.id
        elif session.open is not None and self._applies(session.open):
            yield from self._run_callout(session.open)
            self._session = call.builder.document["session"]

    def _run_callout(self, callout: Callout, *, begins: bool = False) -> Generator[Command, Any, None]:
        """One call, made again until its condition holds; its values join the request document.

        `begins`: a server then works for us.
        """
        heard: FetchedResponse = yield SendRequest(
            self._call.builder.build_callout(callout, self._newest), _LARGEST, begins=True
        )
        begun, pause = heard.at, callout.interval
        while True:
            scope = self._check_response(heard)
            self._begun = begins
            if callout.until is None or callout.until.holds(scope):
                break
            pause = yield from self._paused(callout, begun, heard.at, pause)
            heard = yield from self._again(callout)
        for name, slot in callout.values:
            found = slot.read(scope)
            if found is MISSING:
                said = excerpt(heard.body.decode("utf-8", "replace"), 200)
                raise UpstreamError(
                    UpstreamFailure.EMPTY,
                    f"`{slot}` found no `{name}` in the answer of `{callout.name}`: {said}",
                )
            self._call.builder.document[name] = found

    def _poll(self, poll: Callout) -> Generator[Command, Any, None]:
        """The answer, asked for until it is there. A stream takes each answer as its next piece."""
        call, limit = self._call, self._route.limits.answer
        self._polls = True
        if self._route.callouts.sends_request and poll.template is not self._route.request.non_streaming:
            heard: FetchedResponse = yield SendRequest(call.request(), limit, begins=True)
        else:
            heard = yield from self._again(poll)
        begun, pause = heard.at, poll.interval
        while True:
            self._begun = True
            # A job that has failed need not be cancelled; one whose server is busy goes on.
            self._over = heard.status not in _TRANSIENT_STATUSES
            scope = self._check_response(heard)
            there = poll.until is None or poll.until.holds(scope)
            self._over = there
            if there or call.plan.stream_rule is not None:
                yield DeliverResponse(heard)
            if there or call.decoder.finished:
                return
            pause = yield from self._paused(poll, begun, heard.at, pause)
            heard = yield from self._again(poll)

    def _paused(
        self, callout: Callout, begun: float, now: float, pause: float
    ) -> Generator[Command, Any, float]:
        """Wait, if there is time left; the next pause is longer."""
        left = begun + callout.timeout - now
        if left <= 0:
            message = f"the answer was not there in {callout.timeout:g} s (`{callout.name}.timeout`)"
            raise UpstreamError(UpstreamFailure.TIMEOUT, message, status=504)
        yield Sleep(min(pause, left))
        return min(pause * _POLL_BACKOFF, callout.interval * _MAX_POLL_FACTOR)

    def _again(self, callout: Callout) -> Generator[Command, Any, FetchedResponse]:
        """Ask once more; a server that is busy or cannot be reached for a moment is asked again."""
        request = SendRequest(
            self._call.builder.build_callout(callout, self._newest), self._route.limits.answer
        )
        for _ in range(_MAX_POLL_FAILURES):
            try:
                heard: FetchedResponse = yield request
                if heard.status not in _TRANSIENT_STATUSES:
                    return heard
            except UpstreamError as error:
                if error.kind not in _TRANSIENT_KINDS:
                    raise
            yield Sleep(callout.interval)
        last: FetchedResponse = yield request
        return last

    def _check_response(self, heard: FetchedResponse) -> Scope:
        """An answer as rules see it. Raises UpstreamError where it is a failure."""
        text = heard.body.decode("utf-8", "replace")
        try:
            doc = json.loads(heard.body)
        except ValueError:
            doc = MISSING
        scope = Scope(doc, headers=heard.headers)
        failing = self._route.response.errors
        rule = failing.match(scope)
        if rule or not 200 <= heard.status < 300 or has_error(doc):
            raise failing.error(heard.status, scope, text, rule)
        self._newest = doc
        return scope

    def _lookup_key(self, session: SessionRule) -> str | None:
        """The key that this conversation may be kept under; None: it cannot be."""
        if not new_turn(self._messages):
            return None  # there is nothing to send in it
        if session.by != "transcript":
            return self._store_key(session)
        before = history(self._messages)
        return conversation_key(self._key_scope, before) if before else None

    def _store_key(self, session: SessionRule) -> str | None:
        """The key under which the next turn will look for it; None: of several answers nobody knows which."""
        if self._call.builder.answers > 1:
            return None
        if session.by == "transcript":
            answer = {
                "role": "assistant",
                "content": "".join(self._said),
                "tool_calls": [self._tools[index] for index in sorted(self._tools)],
            }
            return conversation_key(self._key_scope, [*self._messages, answer])
        named = self._conversation if session.by == "header" else self._call.builder.raw.get("user")
        return conversation_key([*self._key_scope, session.by, named], []) if named else None

    @property
    def _key_scope(self) -> list[str | None]:
        # The client's key too: nobody finds a conversation of another.
        builder = self._call.builder
        return [builder.route.name, builder.raw["model"], builder.authorization]

    @property
    def _messages(self) -> list[dict[str, Any]]:
        """The transcript as the client sent it."""
        builder = self._call.builder
        messages: list[dict[str, Any]] = builder.raw.get("messages") or builder.messages
        return messages

    @property
    def _route(self) -> Route:
        return self._call.builder.route

    def _members(self, session: SessionRule) -> dict[str, Any]:
        document = self._call.builder.document
        names = session.close.reads if session.close else frozenset()
        return {name: value for name, value in document.items() if name in names or None in names}

    def _applies(self, callout: Callout) -> bool:
        return callout.when is None or callout.when.holds(Scope(self._call.builder.document))


def close_request(route: Route, kept: StoredSession) -> UpstreamRequest | None:
    """The request that closes a session that was kept, where the route has one."""
    callout = route.callouts.session.close if route.callouts.session else None
    if callout is None:
        return None
    document = {**kept.members, "session": kept.id}
    if callout.when is not None and not callout.when.holds(Scope(document)):
        return None
    return build_callout(callout, document, {}, {})
