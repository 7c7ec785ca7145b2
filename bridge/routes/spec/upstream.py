"""The keys of a route's `upstream`, of which other calls use the transport only."""

from __future__ import annotations

from typing import Any

from bridge.config.quantities import DURATION
from bridge.config.records import Record, option, record
from bridge.config.value_types import Text
from bridge.routes.rules.transport import TransportSpec
from bridge.routes.spec.value_types import CONDITION

__all__ = ["HealthSpec", "UpstreamSpec"]

_PATH = Text("a path that begins with `/`, such as /health", pattern=r"/[^\s#]*")


@record
class HealthSpec:
    """A request that is sent to each server of the upstream from time to time."""

    path: str = option(_PATH, "the path to request, on the host of the server's URL")
    every: float = option(DURATION, "the time from one check to the next", default=10.0)
    expect: Any = option(
        CONDITION, "a condition on the JSON response; if absent: any status from 200 to 299", default=None
    )


@record
class UpstreamSpec(TransportSpec):
    """The model server."""

    health: HealthSpec | None = option(
        Record(HealthSpec),
        "checks of each server: one that fails its check gets no requests; if absent: none",
        default=None,
    )
