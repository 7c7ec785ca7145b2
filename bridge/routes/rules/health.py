"""Health checks of a route's servers (`upstream.health`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.core import json
from bridge.expressions.scope import Scope

if TYPE_CHECKING:
    from bridge.expressions.conditions import Condition

__all__ = ["HealthRule"]


@dataclass(frozen=True)
class HealthRule:
    """The check of each server of a route."""

    urls: tuple[str, ...]  # of the check at each server
    every: float  # seconds from one check to the next
    expect: Condition | None  # on the response; None: any success

    def fault(self, status: int, body: bytes) -> str | None:
        """Return why a response shows that the server is not healthy; None if the server is healthy."""
        if not 200 <= status < 300:
            return f"the health check has status {status}"
        if self.expect is None:
            return None
        try:
            doc = json.loads(body)
        except ValueError:
            return "the response of the health check is not JSON"
        holds = self.expect.holds(Scope(doc))
        return None if holds else "the response of the health check is not as expected"
