"""The short way of a whole answer: one text and what goes with it, read and written at once.

    shortcut = Shortcut(plan, plan.short)
    shortcut.start(status, headers)      False: no good answer
    shortcut.feed(data)                  False: too much of it
    shortcut.completion(head)            the client's bytes; None where it is not as it should be

Whatever is not as it should be goes the long way (`decoder`), which says what is wrong: nothing is lost,
since all that came is held until then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.exchange.decode.response_reader import as_identifier, count_tokens, to_usage
from bridge.expressions.scope import Scope
from bridge.openai.encoders import completion, completion_choice
from bridge.openai.error_bodies import has_error
from bridge.openai.normalize_completion import normalize_completion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.deltas import Usage
    from bridge.exchange.decode.response_decoder import ResponseDecoder
    from bridge.openai.encoders import CompletionInfo
    from bridge.routes.rules.endpoint_plan import EndpointPlan
    from bridge.routes.rules.response_rules import ResponseSlots

__all__ = ["CompletionFastPath", "PassthroughFastPath"]


class CompletionFastPath:
    """One answer on its short way. `usage`: the token counts it told, if it got through."""

    __slots__ = ("_headers", "_pieces", "_plan", "_room", "_rule", "_status", "usage")

    def __init__(self, plan: EndpointPlan, rule: ResponseSlots) -> None:
        self._plan = plan
        self._rule = rule
        self._pieces: list[bytes] = []
        self._room = plan.route.limits.answer
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self.usage: Usage | None = None

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

    def replay(self, decoder: ResponseDecoder) -> bytes:
        """Go the long way from the start: what it is to be fed with."""
        decoder.start(self._status, self._headers)
        return b"".join(self._pieces)

    def completion(self, head: CompletionInfo) -> bytes | None:
        """The client's answer."""
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        try:
            return self._written(data, json.loads_strictly(data), head)
        except (ValueError, RecursionError):  # no JSON, or nested too deeply
            return None

    def _written(self, data: bytes, doc: Any, head: CompletionInfo) -> bytes | None:
        plan, rule = self._plan, self._rule
        scope = Scope(doc, headers=self._headers)
        text = rule.text.extractor.read(scope)  # type: ignore[union-attr] # `Course.short` has one
        if type(text) is not str or plan.route.response.errors.match(scope) is not None:
            return None
        if not text and has_error(doc):
            return None
        for slot in plan.fast_path_excludes:
            if slot.read(scope) is not MISSING:
                return None
        if rule.id is not None or rule.role is not None:
            head = _with_identity(rule, scope, head)
        finish = None if rule.finish_reason is None else rule.finish_reason.read(scope)
        self._count(scope)
        return completion(head, [completion_choice(head, 0, text, finish)], self.usage)

    def _count(self, scope: Scope) -> None:
        counts: dict[str, int] = {}
        count_tokens(self._rule, scope, counts)
        self.usage = to_usage(counts) if counts else None


class PassthroughFastPath(CompletionFastPath):
    """The same of an answer in OpenAI's own shape: its own bytes, if there is nothing to mend in it."""

    __slots__ = ()

    def _written(self, data: bytes, doc: Any, head: CompletionInfo) -> bytes | None:
        scope = Scope(doc, headers=self._headers)
        if type(doc) is not dict or not doc.get("choices"):
            return None
        if self._plan.route.response.errors.match(scope) is not None:
            return None
        self._count(scope)
        return data if normalize_completion(doc, head, self.usage) is doc else None


def _with_identity(rule: ResponseSlots, scope: Scope, head: CompletionInfo) -> CompletionInfo:
    """What the reply is called, and who speaks, where the server says so."""
    name = None if rule.id is None else as_identifier(rule.id.read(scope))
    role = None if rule.role is None else as_identifier(rule.role.read(scope))
    return replace(head, id=name or head.id, role=role or head.role)
