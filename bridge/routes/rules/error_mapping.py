"""The mapping of upstream errors to errors for the client."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate, mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bridge.core.deltas import MISSING
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.expressions.transforms import convert
from bridge.openai.error_bodies import excerpt, parse_error_body
from bridge.routes.rules.error_rule import ErrorRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.expressions.extractors import Extractor
    from bridge.expressions.scope import Scope

__all__ = ["ErrorMapper"]

_FORWARDED_STATUSES = {400, 404, 408, 409, 413, 422, 429}
# They concern the bridge's own key, unless the client's key was sent. Servers repeat a part of the key in
# their messages, and no client can do anything about the key.
_AUTH_STATUSES = {401, 403}
_MAX_LOCATION = 200  # characters
_MAX_RETRY_AFTER_DIGITS = 10
_MAX_DATE = 40  # characters
_MAX_RETRY_AFTER = 1e9  # seconds; anything longer is not a meaningful delay


@dataclass(frozen=True, slots=True)
class ErrorMapper:
    """The error rules of a route, in order; what no rule reads is read from common shapes of errors."""

    rules: Sequence[ErrorRule]
    client_key: bool  # the client's Authorization header is sent upstream

    def match(self, scope: Scope) -> ErrorRule | None:
        """Return the rule whose condition makes a body or frame an error, whatever the status."""
        for rule in self.rules:
            if rule.when is not None and rule.when.holds(scope):
                return rule
        return None

    def error(self, status: int, scope: Scope, text: str, rule: ErrorRule | None = None) -> UpstreamError:
        """Return the error that a body or frame reports; `text` is the body or frame itself.

        `rule` is the rule that matched. Without it, the first rule is used that has no condition, or one
        that holds.
        """
        if rule is None:
            applicable = (each for each in self.rules if each.when is None or each.when.holds(scope))
            rule = next(applicable, _NO_RULE)
        declared = _declared_status(rule, scope)
        details = parse_error_body(scope.doc, text, status)
        message = _word(rule.message, scope) or details.message
        if 200 <= status < 300 and details.status is not None:
            status = details.status
        refused_key = status in _AUTH_STATUSES or (status < 500 and details.is_authentication)
        reason = f"the upstream responded {status} with an error"
        if refused_key and declared is None and not self.client_key:
            reason = f"the upstream refused the bridge's credentials ({status}): {excerpt(message)}"
            message = f"the upstream refused the bridge's credentials ({status})"
            details, declared = details._replace(more={}), 502
        elif 300 <= status <= 399:
            reason = _redirect(status, scope.headers.get("location", ""))
            message = message if isinstance(scope.doc, dict) else reason
        error = UpstreamError(
            UpstreamFailure.REFUSED,
            message,
            status=declared or self._status(status),
            type=_word(rule.type, scope) or details.type,
            param=details.param,
            code=_word(rule.code, scope) or details.code,
            retry_after=_seconds(rule.retry_after, scope)
            or _retry_after(scope.headers.get("retry-after", "")),
            reason=reason,
        )
        error.more = details.more
        return error

    def _status(self, status: int) -> int:
        """Return the client's status for an upstream status."""
        if status in _FORWARDED_STATUSES or 500 <= status <= 599:
            return status
        return status if status in _AUTH_STATUSES and self.client_key else 502


def _redirect(status: int, location: str) -> str:
    """Return the message for a redirect, with the URL to use instead, but without user and query."""
    parts = urlsplit(location)
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    target = excerpt(url, _MAX_LOCATION) if url.isprintable() else ""
    if not target:
        return f"the upstream redirects ({status}), without a location"
    return f"the upstream redirects ({status}) to {target}: use that URL as `upstream`"


def _declared_status(rule: ErrorRule, scope: Scope) -> int | None:
    """Return the client's status that a rule finds; None if the rule finds no status of an error."""
    found: Any = rule.status.read(scope) if rule.status else MISSING
    found = convert(found[0] if type(found) is list and len(found) == 1 else found, "int")
    return found if isinstance(found, int) and 400 <= found <= 599 else None


def _word(slot: Extractor | None, scope: Scope) -> str | None:
    """Return the value of a slot as text; of a list, the strings in it."""
    found: Any = slot.read(scope) if slot else MISSING
    if isinstance(found, list):
        found = "; ".join(item for item in found if isinstance(item, str)) or MISSING
    if found is MISSING or isinstance(found, bool | dict):
        return None
    return str(found).strip() or None


def _retry_after(value: str) -> str | None:
    """Return the upstream's own Retry-After if it is a number of seconds or a date (RFC 9110, 10.2.3)."""
    value = value.strip()
    if value.isascii() and value.isdecimal() and len(value) < _MAX_RETRY_AFTER_DIGITS:
        return value
    date = parsedate_tz(value) if len(value) < _MAX_DATE else None
    with suppress(ValueError, OverflowError):  # such as the 99th of a month
        return formatdate(mktime_tz(date), usegmt=True) if date else None
    return None


def _seconds(slot: Extractor | None, scope: Scope) -> str | None:
    """Return the value of a slot as a Retry-After header in whole seconds."""
    found: Any = slot.read(scope) if slot else MISSING
    if isinstance(found, str):
        found = found.strip().removesuffix("s")  # Google's RetryInfo has "30s"
    found = convert(found, "float") if found is not MISSING else MISSING
    return str(math.ceil(found)) if found is not MISSING and 0 <= found < _MAX_RETRY_AFTER else None


_NO_RULE = ErrorRule()
