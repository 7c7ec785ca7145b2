"""One upstream call of an exchange: its requests, its session, and the reading of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge import json
from bridge.deltas import MISSING
from bridge.errors import Kind, UpstreamError
from bridge.exchange.answering import Answering, Expected
from bridge.exchange.reading import Manner
from bridge.openai.failures import has_error, shorten
from bridge.rules.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.deltas import Delta
    from bridge.exchange.requests import Asking
    from bridge.routes.route import UpstreamRequest

__all__ = ["Leg"]


class Leg:
    """One call: the one of this number. `first` is the index of its first choice in the reply."""

    __slots__ = ("_session", "answering", "asking", "choices", "cuts", "expected", "first", "settled")

    def __init__(self, asking: Asking, number: int, call_id: str) -> None:
        route = asking.route
        session = route.session
        calls = [session.open, session.close] if session else []
        asking.make_document(*(call for call in calls if call))
        self.asking = asking
        stream = route.stream if asking.stream else None
        rule = stream.answer if stream else route.whole
        several = rule is not None and rule.choices is not None
        self.choices = int(asking.body.get("n") or 1) if several else 1
        self.first = number * self.choices
        self.settled = False
        self.cuts = asking.cuts
        self._session: object = MISSING
        manner = Manner(
            prompt=str(asking.document.get("prompt", "")),
            stop=self.cuts,
            choices=self.choices,
            call_id=call_id if number == 0 else f"{call_id}_{number}",
        )
        self.expected = Expected(
            whole=route.whole,
            stream=stream,
            failing=route.failing,
            manner=manner,
            frame_limit=route.limits.frame,
            answer_limit=route.limits.answer,
        )
        self.answering = Answering(self.expected)

    @property
    def whole_read(self) -> bool:
        """Whether the answer ended well by its own word, so that only its connection's end is awaited."""
        return self.answering.error is None and not self.answering.reading.ended

    def placed(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Its deltas among those of other calls: a choice that was not asked for has no place there."""
        return [
            delta._replace(choice=self.first + delta.choice)
            for delta in deltas
            if delta.choice < self.choices
        ]

    def opening(self) -> UpstreamRequest | None:
        """The call that opens the session, where the route has one."""
        session = self.asking.route.session
        return self.asking.call(session.open) if session else None

    def opened(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Its answer: the session is a member of the document from now on. Raises UpstreamError."""
        session = self.asking.route.session
        assert session is not None
        failing = self.asking.route.failing
        text = body.decode("utf-8", "replace")
        try:
            doc = json.loads(body)
        except ValueError:
            doc = MISSING
        scope = Scope(doc, headers=headers)
        rule = failing.seen(scope)
        if rule or not 200 <= status < 300 or has_error(doc):
            raise failing.error(status, scope, text, rule)
        found = session.id.read(scope)
        if found is MISSING:
            raise UpstreamError(
                Kind.EMPTY, f"`{session.id}` found no session in the upstream's answer: {shorten(text, 200)}"
            )
        self._session = found
        self.asking.document["session"] = found

    def request(self) -> UpstreamRequest:
        """The request whose answer is the client's."""
        return self.asking.main()

    def closing(self) -> UpstreamRequest | None:
        """The call that closes the session, where one is open."""
        session = self.asking.route.session
        if session is None or session.close is None or self._session is MISSING:
            return None
        self._session = MISSING
        return self.asking.call(session.close)
