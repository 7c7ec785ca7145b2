"""The short way of a whole answer: one text and what goes with it, read and written at once.

    shortcut = Shortcut.of(leg)          None: the route or the request wants more than a text
    shortcut.start(status, headers)      False: no good answer
    shortcut.feed(data)                  False: too much of it
    shortcut.completion(head)            the client's bytes; None where it is not as it should be

Whatever is not as it should be goes the long way (`answering`), which says what is wrong: nothing is lost,
since all that came is held until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge import json
from bridge.deltas import MISSING
from bridge.exchange.reading import count_tokens, usage_of, word_of
from bridge.openai.failures import has_error
from bridge.openai.replies import completion, whole_choice
from bridge.rules.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.deltas import Usage
    from bridge.exchange.answering import Answering
    from bridge.exchange.legs import Leg
    from bridge.openai.replies import Head
    from bridge.routes.answers import AnswerRule
    from bridge.routes.route import Course

__all__ = ["Shortcut"]


class Shortcut:
    """One answer on its short way. `usage`: the token counts it told, if it got through."""

    __slots__ = ("_course", "_headers", "_pieces", "_room", "_rule", "_status", "usage")

    def __init__(self, course: Course, rule: AnswerRule) -> None:
        self._course = course
        self._rule = rule
        self._pieces: list[bytes] = []
        self._room = course.answer_limit
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self.usage: Usage | None = None

    @classmethod
    def of(cls, leg: Leg) -> Shortcut | None:
        """The short way of a call's answer, where it may have one."""
        rule = leg.course.short
        return None if rule is None or leg.cuts else cls(leg.course, rule)

    def start(self, status: int, headers: Mapping[str, str]) -> bool:
        """The head has come; whether the answer may be good."""
        self._status = status
        self._headers = headers
        return 200 <= status < 300

    def feed(self, data: bytes) -> bool:
        """Some of the body has come; whether it is not too much."""
        self._pieces.append(data)
        self._room -= len(data)
        return self._room >= 0

    def replay(self, answering: Answering) -> bytes:
        """Go the long way from the start: what it is to be fed with."""
        answering.start(self._status, self._headers)
        return b"".join(self._pieces)

    def completion(self, head: Head) -> bytes | None:
        """The client's answer."""
        try:
            return self._completion(head)
        except (ValueError, RecursionError):  # no JSON, or nested too deeply
            return None

    def _completion(self, head: Head) -> bytes | None:
        course, rule, pieces = self._course, self._rule, self._pieces
        doc = json.loads_strictly(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        scope = Scope(doc, headers=self._headers)
        text = rule.text.slot.read(scope)  # type: ignore[union-attr] # `Course.short` has one
        if type(text) is not str or course.failing.seen(scope) is not None:
            return None
        if not text and has_error(doc):
            return None
        for slot in course.beside:
            if slot.read(scope) is not MISSING:
                return None
        if rule.id is not None or rule.role is not None:
            head = _named(rule, scope, head)
        finish = None if rule.finish_reason is None else rule.finish_reason.read(scope)
        if rule.usage:
            counts: dict[str, int] = {}
            count_tokens(rule, scope, counts)
            self.usage = usage_of(counts) if counts else None
        return completion(head, [whole_choice(head, 0, text, finish)], self.usage)


def _named(rule: AnswerRule, scope: Scope, head: Head) -> Head:
    """What the reply is called, and who speaks, where the server says so."""
    name = None if rule.id is None else word_of(rule.id.read(scope))
    role = None if rule.role is None else word_of(rule.role.read(scope))
    return head._replace(id=name or head.id, role=role or head.role)
