"""Settings of the bridge itself that the server uses as declared in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.config.container_types import OneOrMany
from bridge.config.quantities import POSITIVE_DURATION, RATE
from bridge.config.records import option, record
from bridge.config.value_types import TEXT, Integer, Text

if TYPE_CHECKING:
    from bridge.core.rate_bucket import Rate

__all__ = ["CLIENT_KEY", "ClientKeySpec", "ClientLimitsSpec"]

CLIENT_KEY = Text("a key: a string without spaces", pattern=r"[^\s\x00-\x1f\x7f]+")


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


@record
class ClientKeySpec:
    """A key that clients send, and what its clients may do."""

    key: str = option(CLIENT_KEY, "the key")
    name: str | None = option(
        Text("a string on one line", pattern=r"[^\x00-\x1f\x7f]+"),
        "the name of the key in metrics and logs",
        default=None,
        secret=False,
    )
    models: tuple[str, ...] | None = option(
        OneOrMany(TEXT), "the models that the key may use: names, or globs; if absent: all", default=None,
        secret=False,
    )  # fmt: skip
    requests: Rate | None = option(RATE, "the rate of requests; if absent: any", default=None, secret=False)
    tokens: Rate | None = option(
        RATE, "the rate of tokens, of prompts and responses; if absent: any", default=None, secret=False
    )
    concurrency: int | None = option(
        Integer(1), "requests in progress at once; if absent: any number", default=None, secret=False
    )
