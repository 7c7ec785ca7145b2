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
from bridge.core.errors import BridgeError, Kind, UpstreamError
from bridge.exchange.commands import Find, Heard, Keep, Kept, Send, Take, Wait
from bridge.exchange.conversation_key import digest, new_turn, said_before
from bridge.exchange.request_builder import make_call
from bridge.expressions.scope import Scope
from bridge.openai.encoders import fold_tool_call
from bridge.openai.error_bodies import has_error, shorten

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from bridge.core.deltas import Delta
    from bridge.exchange.commands import Step
    from bridge.exchange.upstream_call import Leg
    from bridge.routes.rules.request_template import Call, Session, UpstreamRequest
    from bridge.routes.rules.route import Route

__all__ = ["Around", "closing"]

_LARGEST = 2**20  # bytes of the answer of a call that is not the client's
_SLOWER = 1.5  # by this each pause between two polls is longer than the one before,
_SLOWEST = 10  # up to so many times the first
_PATIENT = 3  # so often in a row may a poll fail of no answer: the job goes on without us
_PASSING = (429, 502, 503, 504)
_LOST = (Kind.CONNECT, Kind.DISCONNECT, Kind.TIMEOUT)


class Around:
    """The calls around one leg's answer. `conversation`: what the client calls it, in a header."""

    __slots__ = (
        "_begun", "_conversation", "_leg", "_newest", "_over", "_polls", "_said", "_session", "_tools",
    )  # fmt: skip

    def __init__(self, leg: Leg, conversation: str | None) -> None:
        self._leg = leg
        self._conversation = conversation
        self._session: Any = MISSING
        self._newest: Any = MISSING  # the newest answer of a call
        self._begun = False  # a server works for us, so far as we know
        self._polls = False
        self._over = False  # what is polled has come to its end
        self._said: list[str] = []
        self._tools: dict[int, dict[str, Any]] = {}

    def heard(self, deltas: Sequence[Delta]) -> None:
        """What is said, for the transcript."""
        for delta in deltas:
            if delta.choice:
                continue
            self._said.append(delta.text)
            for call in delta.tool_calls or ():
                fold_tool_call(self._tools, call)

    def before(self) -> Generator[Step, Any, bool]:
        """The steps ahead of the answer; whether it was taken on the way. Raises UpstreamError."""
        route = self._route
        if route.session is not None:
            yield from self._opened(route.session)
        for call in route.calls:
            if self._wanted(call):
                yield from self._made(call, begins=True)
        poll = route.poll
        if poll is None or not self._wanted(poll):
            self._begun = True
            return False
        yield from self._polled(poll)
        return True

    def after(self) -> Iterator[Send | Keep]:
        """What is to be done when the answer is over, or not wanted any more."""
        route, leg = self._route, self._leg
        begun, self._begun = self._begun, False
        over = self._over if self._polls else leg.ended_well or leg.refused
        if begun and route.cancel and not over:
            request = self._cancelling(route.cancel)
            if request is not None:
                yield Send(request, _LARGEST)
        if route.session is not None:
            yield from self._ended(route.session)

    def _cancelling(self, cancel: Call) -> UpstreamRequest | None:
        """The request that cancels; None where it is not wanted, or no answer has said where it goes."""
        with suppress(BridgeError):
            return self._leg.asking.call(cancel, self._newest) if self._wanted(cancel) else None
        return None

    def _ended(self, session: Session) -> Iterator[Send | Keep]:
        """What becomes of the session."""
        leg = self._leg
        if leg.ended_well and leg.answering.session is not MISSING:
            self._session = leg.answering.session  # some servers give each answer a name of its own
        if self._session is MISSING:
            return
        leg.asking.document["session"] = self._session
        kept = Kept(self._session, leg.replica or 0, self._members(session))
        self._session = MISSING
        key = self._kept_under(session) if leg.keeps_session and leg.ended_well else None
        if key is not None:
            yield Keep(key, kept)
        elif session.close is not None and self._wanted(session.close):
            yield Send(leg.asking.call(session.close, self._newest), _LARGEST)

    def _opened(self, session: Session) -> Generator[Step, Any, None]:
        leg = self._leg
        key = self._found_by(session) if leg.keeps_session else None
        kept: Kept | None = (yield Find(key)) if key is not None else None
        if kept is not None:
            leg.resume()
            leg.replica = kept.replica
            self._session = leg.asking.document["session"] = kept.id
        elif session.open is not None and self._wanted(session.open):
            yield from self._made(session.open)
            self._session = leg.asking.document["session"]

    def _made(self, call: Call, *, begins: bool = False) -> Generator[Step, Any, None]:
        """One call, made again until its condition holds; its values join the request document.

        `begins`: a server then works for us.
        """
        heard: Heard = yield Send(self._leg.asking.call(call, self._newest), _LARGEST, begins=True)
        begun, pause = heard.at, call.every
        while True:
            scope = self._judged(heard)
            self._begun = begins
            if call.until is None or call.until(scope):
                break
            pause = yield from self._paused(call, begun, heard.at, pause)
            heard = yield from self._again(call)
        for name, slot in call.values:
            found = slot.read(scope)
            if found is MISSING:
                said = shorten(heard.body.decode("utf-8", "replace"), 200)
                raise UpstreamError(
                    Kind.EMPTY, f"`{slot}` found no `{name}` in the answer of `{call.at}`: {said}"
                )
            self._leg.asking.document[name] = found

    def _polled(self, poll: Call) -> Generator[Step, Any, None]:
        """The answer, asked for until it is there. A stream takes each answer as its next piece."""
        leg, limit = self._leg, self._route.limits.answer
        self._polls = True
        if self._route.asks and poll.outgoing is not self._route.outgoing:
            heard: Heard = yield Send(leg.request(), limit, begins=True)
        else:
            heard = yield from self._again(poll)
        begun, pause = heard.at, poll.every
        while True:
            self._begun = True
            # A job that has failed need not be cancelled; one whose server is busy goes on.
            self._over = heard.status not in _PASSING
            scope = self._judged(heard)
            there = poll.until is None or poll.until(scope)
            self._over = there
            if there or leg.course.stream is not None:
                yield Take(heard)
            if there or leg.answering.finished:
                return
            pause = yield from self._paused(poll, begun, heard.at, pause)
            heard = yield from self._again(poll)

    def _paused(self, call: Call, begun: float, now: float, pause: float) -> Generator[Step, Any, float]:
        """Wait, if there is time left; the next pause is longer."""
        left = begun + call.timeout - now
        if left <= 0:
            message = f"the answer was not there in {call.timeout:g} s (`{call.at}.timeout`)"
            raise UpstreamError(Kind.TIMEOUT, message, status=504)
        yield Wait(min(pause, left))
        return min(pause * _SLOWER, call.every * _SLOWEST)

    def _again(self, call: Call) -> Generator[Step, Any, Heard]:
        """Ask once more; a server that is busy or cannot be reached for a moment is asked again."""
        request = Send(self._leg.asking.call(call, self._newest), self._route.limits.answer)
        for _ in range(_PATIENT):
            try:
                heard: Heard = yield request
                if heard.status not in _PASSING:
                    return heard
            except UpstreamError as error:
                if error.kind not in _LOST:
                    raise
            yield Wait(call.every)
        last: Heard = yield request
        return last

    def _judged(self, heard: Heard) -> Scope:
        """An answer as rules see it. Raises UpstreamError where it is a failure."""
        text = heard.body.decode("utf-8", "replace")
        try:
            doc = json.loads(heard.body)
        except ValueError:
            doc = MISSING
        scope = Scope(doc, headers=heard.headers)
        failing = self._route.failing
        rule = failing.seen(scope)
        if rule or not 200 <= heard.status < 300 or has_error(doc):
            raise failing.error(heard.status, scope, text, rule)
        self._newest = doc
        return scope

    def _found_by(self, session: Session) -> str | None:
        """The key that this conversation may be kept under; None: it cannot be."""
        if not new_turn(self._messages):
            return None  # there is nothing to send in it
        if session.by != "transcript":
            return self._kept_under(session)
        before = said_before(self._messages)
        return digest(self._whose, before) if before else None

    def _kept_under(self, session: Session) -> str | None:
        """The key under which the next turn will look for it; None: of several answers nobody knows which."""
        if self._leg.asking.answers > 1:
            return None
        if session.by == "transcript":
            answer = {
                "role": "assistant",
                "content": "".join(self._said),
                "tool_calls": [self._tools[index] for index in sorted(self._tools)],
            }
            return digest(self._whose, [*self._messages, answer])
        named = self._conversation if session.by == "header" else self._leg.asking.raw.get("user")
        return digest([*self._whose, session.by, named], []) if named else None

    @property
    def _whose(self) -> list[str | None]:
        # The client's key too: nobody finds a conversation of another.
        asking = self._leg.asking
        return [asking.route.name, asking.raw["model"], asking.authorization]

    @property
    def _messages(self) -> list[dict[str, Any]]:
        """The transcript as the client sent it."""
        asking = self._leg.asking
        messages: list[dict[str, Any]] = asking.raw.get("messages") or asking.messages
        return messages

    @property
    def _route(self) -> Route:
        return self._leg.asking.route

    def _members(self, session: Session) -> dict[str, Any]:
        document = self._leg.asking.document
        names = session.close.reads if session.close else frozenset()
        return {name: value for name, value in document.items() if name in names or None in names}

    def _wanted(self, call: Call) -> bool:
        return call.when is None or call.when.holds(Scope(self._leg.asking.document))


def closing(route: Route, kept: Kept) -> UpstreamRequest | None:
    """The request that closes a session that was kept, where the route has one."""
    call = route.session.close if route.session else None
    if call is None:
        return None
    document = {**kept.members, "session": kept.id}
    if call.when is not None and not call.when.holds(Scope(document)):
        return None
    return make_call(call, document, {}, {})
