"""The keys of `server`: the settings of the bridge itself."""

from __future__ import annotations

from bridge.config.container_types import OneOrMany
from bridge.config.quantities import DURATION
from bridge.config.records import Record, option, record
from bridge.config.value_types import TEXT, Integer
from bridge.core.addresses import ADDRESS_FORM
from bridge.routes.rules.server_settings import ClientLimitsSpec
from bridge.routes.spec.value_types import AddressText

__all__ = ["ServerSpec"]

_ADDRESS = AddressText(ADDRESS_FORM)
_ADDRESS_OR_OFF = AddressText("HOST:PORT, or off", other=("off",))


@record
class ServerSpec:
    """The settings of the bridge itself."""

    listen: str = option(_ADDRESS, "the address of the OpenAI API", default="127.0.0.1:8080")
    admin: str = option(
        _ADDRESS_OR_OFF,
        "the address of /metrics, /healthz and /readyz; `off` for none",
        default="127.0.0.1:9090",
    )
    keys: tuple[str, ...] = option(
        OneOrMany(TEXT, min_items=0),
        "the keys that clients must send; if absent: no key is required",
        default=(),
        secret=True,
    )
    workers: int = option(Integer(1, 128), "processes that share the address `listen`", default=1)
    cors: tuple[str, ...] = option(
        OneOrMany(TEXT), "origins of web pages that may call the API, or `*`; if absent: none", default=()
    )
    drain: float = option(
        DURATION, "the longest time that responses in progress may take at shutdown", default=30.0
    )
    limits: ClientLimitsSpec = option(
        Record(ClientLimitsSpec), "limits of the connections of clients", default=ClientLimitsSpec()
    )
