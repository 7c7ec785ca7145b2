"""Settings of the bridge itself that the server uses as declared in the file."""

from __future__ import annotations

from bridge.config.quantities import POSITIVE_DURATION
from bridge.config.records import option, record
from bridge.config.value_types import Integer

__all__ = ["ClientLimitsSpec"]


@record
class ClientLimitsSpec:
    """Limits of the connections of clients."""

    connections: int = option(
        Integer(1), "connections of clients at once; beyond the limit, idle ones are closed", default=4096
    )
    first_request: float = option(
        POSITIVE_DURATION,
        "the longest time until a new connection sends a request, and from the first byte of a request to "
        "the end of its headers",
        default=60.0,
    )
    send: float = option(
        POSITIVE_DURATION,
        "the longest time in which a client reads nothing of a response that waits; then the client is "
        "disconnected",
        default=60.0,
    )
