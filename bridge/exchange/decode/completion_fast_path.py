"""The fast path of non-streaming completions: a body with one text is read and encoded without deltas.

    CompletionFastPath(…, status, headers) ─▶ feed(data)* ─▶ complete(info)

Where a step refuses (`feed` returns False, `complete` returns None), `replay` gives the response to the
decoder, which handles every response. The fast path writes what the decoder and encoder would write.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.core.errors import UpstreamError
from bridge.core.finish_reasons import FAILED
from bridge.core.json_bounds import has_more_values
from bridge.exchange.decode.usage_counts import UsageCounts, openai_usage
from bridge.exchange.decode.values import as_identifier
from bridge.expressions.scope import Scope
from bridge.openai.encoders import completion, completion_choice
from bridge.openai.error_bodies import has_error
from bridge.openai.normalize_completion import normalize_completion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.deltas import Usage
    from bridge.exchange.decode.response_decoder import ResponseDecoder
    from bridge.openai.response_encoder import ResponseInfo
    from bridge.routes.rules.endpoint_plan import EndpointPlan
    from bridge.routes.rules.response_rules import ResponseSlots

__all__ = ["CompletionFastPath", "PassthroughFastPath"]


class CompletionFastPath:
    """One response on the fast path."""

    __slots__ = (
        "_headers",  # keyed in lower case
        "_limit",  # bytes of a body
        "_parts",
        "_plan",
        "_rule",
        "_status",
        "received",  # bytes of the body so far
        "usage",  # the token counts that the upstream sent, once complete
    )

    def __init__(
        self, plan: EndpointPlan, rule: ResponseSlots, status: int, headers: Mapping[str, str]
    ) -> None:
        self._plan = plan
        self._rule = rule
        self._status = status
        self._headers = headers
        self._parts: list[bytes] = []
        self._limit = plan.route.limits.answer
        self.received = 0
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> bool:
        """Keep a part of the body. Return False if the body is over its limit."""
        self._parts.append(data)
        self.received += len(data)
        return self.received <= self._limit

    def replay(self, decoder: ResponseDecoder) -> bytes:
        """Start a decoder with the head of the response, and return the body so far."""
        decoder.start(self._status, self._headers)
        return b"".join(self._parts)

    def complete(self, info: ResponseInfo) -> bytes | None:
        """Return the response to the client; None if the body needs the decoder."""
        data = b"".join(self._parts)
        if has_more_values(data, self._plan.max_fast_values):
            return None
        try:
            return self._encode(data, json.loads_strictly(data), info)
        except (ValueError, RecursionError, UpstreamError):  # not strict JSON, nested too deeply, unreadable
            return None

    def _encode(self, data: bytes, doc: Any, info: ResponseInfo) -> bytes | None:
        plan, rule = self._plan, self._rule
        scope = Scope(doc, headers=self._headers)
        assert rule.text is not None  # `EndpointPlan.fast_rule` has a text
        text = rule.text.extractor.read(scope)
        if type(text) is not str or plan.route.response.errors.match(scope) is not None:
            return None
        if not text and has_error(doc):
            return None
        for slot in plan.fast_path_excludes:
            if slot.read(scope) is not MISSING:
                return None
        if rule.id is not None or rule.role is not None:
            info = _with_identity(rule, scope, info)
        finish = None if rule.finish_reason is None else rule.finish_reason.read(scope)
        if finish == FAILED:
            return None
        if rule.usage:
            self._read_usage(scope)
        return completion(info, [completion_choice(info, 0, text, finish)], self.usage)

    def _read_usage(self, scope: Scope) -> None:
        counts = UsageCounts()
        counts.read(self._rule.usage, scope)
        if self._rule.openai_usage:
            counts.read_sent(scope.doc)
        self.usage = counts.usage()


class PassthroughFastPath(CompletionFastPath):
    """One response of OpenAI's own on the fast path: its bytes are forwarded if nothing has to change."""

    __slots__ = ()

    def _encode(self, data: bytes, doc: Any, info: ResponseInfo) -> bytes | None:
        if type(doc) is not dict or not doc.get("choices"):
            return None
        errors = self._plan.route.response.errors
        if errors.rules and errors.match(Scope(doc, headers=self._headers)) is not None:
            return None
        self.usage = openai_usage(doc)
        if self.usage is None:
            self._read_usage(Scope(doc, headers=self._headers))
        return data if normalize_completion(doc, info, self.usage) is doc else None


def _with_identity(rule: ResponseSlots, scope: Scope, info: ResponseInfo) -> ResponseInfo:
    """Return the info with the upstream's id and role, where the rule finds them."""
    response_id = None if rule.id is None else as_identifier(rule.id.read(scope))
    role = None if rule.role is None else as_identifier(rule.role.read(scope))
    return replace(info, id=response_id or info.id, role=role or info.role)
