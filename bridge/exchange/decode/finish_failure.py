"""The error of a response whose finish reason reports a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import MISSING
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.openai.error_bodies import excerpt, has_error, parse_error_body

if TYPE_CHECKING:
    from bridge.expressions.scope import Scope
    from bridge.routes.rules.response_rules import FinishSlot

__all__ = ["choice_failure", "finish_failure"]

_MAX_WORD = 80  # characters of a finish reason in an error text


def finish_failure(slot: FinishSlot | None, scope: Scope) -> UpstreamError:
    """Return the error for the finish reason that a slot finds."""
    word = slot.extractor.read(scope) if slot else MISSING
    return choice_failure(word, scope.item)


def choice_failure(word: Any, choice: Any) -> UpstreamError:
    """Return the error for the finish reason of a choice, whose own `error` has the message (OpenRouter)."""
    reason = message = (
        f"the upstream ended the response with the finish reason `{excerpt(str(word), _MAX_WORD)}`"
    )
    if has_error(choice):
        message = parse_error_body(choice, message, 502).message
    return UpstreamError(UpstreamFailure.REFUSED, message, reason=reason)
