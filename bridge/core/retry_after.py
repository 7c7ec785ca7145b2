"""The delay that a server requests before the next attempt (RFC 9110, 10.2.3)."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["retry_after"]

_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds until the next attempt; None if no header names them.

    `headers` are keyed in lower case, `now` is in seconds of Unix time, for HTTP dates. `retry-after-ms` is
    OpenAI's own, and more exact.
    """
    if milliseconds := _NUMBER.fullmatch(headers.get("retry-after-ms", "").strip()):
        return float(milliseconds[0]) / 1000
    text = headers.get("retry-after", "").strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    with suppress(ValueError, TypeError, OverflowError):
        date = parsedate_to_datetime(text)
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
    return None
