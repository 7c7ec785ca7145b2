"""How an upstream's failure becomes ours: the route's `error` rules, then OpenAI's and common shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.deltas import MISSING
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.expressions.transforms import convert
from bridge.openai.error_bodies import parse_error_body
from bridge.routes.rules.response_rules import ErrorRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.expressions.extractors import Extractor
    from bridge.expressions.scope import Scope

__all__ = ["ErrorMapper"]

_PASSED = {400, 404, 408, 409, 413, 422, 429}


class ErrorMapper(NamedTuple):
    """What a route knows of failure. `own_key`: the client's Authorization goes to the server itself."""

    rules: Sequence[ErrorRule]
    client_key: bool

    def match(self, scope: Scope) -> ErrorRule | None:
        """The rule by which a body or frame is a failure, whatever the HTTP status."""
        for rule in self.rules:
            if rule.when is not None and rule.when.holds(scope):
                return rule
        return None

    def error(self, status: int, scope: Scope, text: str, rule: ErrorRule | None = None) -> UpstreamError:
        """The failure that a body or frame reports: `text` is what it says literally."""
        if rule is None:
            rule = next((one for one in self.rules if one.when is None or one.when.holds(scope)), _NO_RULE)
        shown = parse_error_body(scope.doc, text, status)
        message = _word(rule.message, scope) or shown.message
        mapped = convert(rule.status.read(scope), "int") if rule.status else MISSING
        return UpstreamError(
            UpstreamFailure.REFUSED,
            message,
            status=mapped if isinstance(mapped, int) and 400 <= mapped <= 599 else self._status(status),
            type=_word(rule.type, scope) or shown.type,
            param=shown.param,
            code=_word(rule.code, scope) or shown.code,
            retry_after=_seconds(rule.retry_after, scope) or scope.headers.get("retry-after"),
        )

    def _status(self, status: int) -> int:
        """What of the server's status the client may see."""
        if status in _PASSED or 500 <= status <= 599:
            return status
        # 401 and 403 speak of the bridge's own key, unless it was the client's.
        return status if status in (401, 403) and self.client_key else 502


def _word(slot: Extractor | None, scope: Scope) -> str | None:
    found: Any = slot.read(scope) if slot else MISSING
    if isinstance(found, list):
        found = "; ".join(item for item in found if isinstance(item, str)) or MISSING
    if found is MISSING or isinstance(found, bool | dict):
        return None
    return str(found).strip() or None


def _seconds(slot: Extractor | None, scope: Scope) -> str | None:
    found: Any = slot.read(scope) if slot else MISSING
    if isinstance(found, str):
        found = found.strip().removesuffix("s")  # Google's RetryInfo says 30s
    found = convert(found, "float") if found is not MISSING else MISSING
    return str(math.ceil(found)) if found is not MISSING and 0 <= found < 1e9 else None


_NO_RULE = ErrorRule()
