"""The time that an idle connection to an upstream is kept for another request.

A request that crosses the close by the upstream is lost, since requests are not sent twice. So the bridge
closes idle connections before the upstream does.
"""

from __future__ import annotations

import re

__all__ = ["DEFAULT_IDLE_TIMEOUT", "announced_idle_timeout"]

# Seconds. Common servers close idle connections after 5 (uvicorn, Node.js, llama.cpp), 15 or 60 seconds.
DEFAULT_IDLE_TIMEOUT = 4.0
_MAX_IDLE_TIMEOUT = 60.0  # seconds, whatever the upstream announces
_TIMEOUT = re.compile(rb"(?:^|[,;\s])timeout\s*=\s*(\d{1,9})", re.IGNORECASE)


def announced_idle_timeout(header: bytes, default: float) -> float:
    """Return the time for a `Keep-Alive` header, such as `timeout=5, max=100`, else the default."""
    match = _TIMEOUT.search(header)
    if match is None:
        return default
    seconds = int(match[1])
    return min(max(seconds - 1.0, seconds / 2), _MAX_IDLE_TIMEOUT)
