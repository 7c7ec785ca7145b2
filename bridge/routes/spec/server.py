"""The keys of `server`: the settings of the bridge itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.config.container_types import OneOrMany
from bridge.config.networks import NETWORK, Network
from bridge.config.quantities import DURATION
from bridge.config.records import Record, Shorthand, option, record
from bridge.config.value_types import INVALID, Integer, Text
from bridge.core.addresses import ADDRESS_FORM
from bridge.routes.rules.server_settings import CLIENT_KEY, ClientKeySpec, ClientLimitsSpec
from bridge.routes.spec.value_types import AddressText

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node

__all__ = ["ServerSpec"]


class ClientKeys(OneOrMany):
    """The keys of clients, each with its own name."""

    def read(self, node: Node, problems: Problems) -> Any:
        specs = super().read(node, problems)
        if specs is INVALID:
            return INVALID
        nodes = node.value if isinstance(node.value, list) else [node]
        valid = True
        for attribute in ("key", "name"):
            seen: set[str] = set()
            for spec, item in zip(specs, nodes, strict=True):
                value = getattr(spec, attribute)
                if value in seen:
                    at = item.find((attribute,))
                    problems.add(at.location, at.path, f"duplicate {attribute} of a client")
                    valid = False
                if value is not None:
                    seen.add(value)
        return specs if valid else INVALID


_KEYS = ClientKeys(
    Shorthand(Record(ClientKeySpec), "key", CLIENT_KEY, f"{CLIENT_KEY.expected}, or a mapping with `key`"),
    min_items=0,
)
_ADDRESSES = OneOrMany(AddressText(ADDRESS_FORM))
_ADDRESSES_OR_OFF = OneOrMany(AddressText("HOST:PORT, or off", other=("off",)))


_ORIGIN = Text(
    "an origin, such as https://chat.example, or *", pattern=r"\*|null|[a-z][a-z0-9+.-]*://[^/\s?#]+"
)


@record
class ServerSpec:
    """The settings of the bridge itself."""

    listen: tuple[str, ...] = option(
        _ADDRESSES, "the addresses of the OpenAI API", default=("127.0.0.1:8080",)
    )
    admin: tuple[str, ...] = option(
        _ADDRESSES_OR_OFF,
        "the addresses of /metrics, /healthz and /readyz; `off` for none",
        default=("127.0.0.1:9090",),
    )
    keys: tuple[ClientKeySpec, ...] = option(
        _KEYS, "the keys that clients must send; if absent: no key is required", default=(), secret=True
    )
    trusted_proxies: tuple[Network, ...] = option(
        OneOrMany(NETWORK),
        "networks of proxies whose X-Forwarded-For names the client; if absent: none",
        default=(),
    )
    workers: int = option(Integer(1, 128), "processes that share the address `listen`", default=1)
    cors: tuple[str, ...] = option(
        OneOrMany(_ORIGIN), "origins of web pages that may call the API, or `*`; if absent: none", default=()
    )
    drain: float = option(
        DURATION, "the longest time that responses in progress may take at shutdown", default=30.0
    )
    shutdown_delay: float = option(
        DURATION,
        "the time between SIGTERM and the drain, in which /readyz is 503 and requests are still accepted",
        default=0.0,
    )
    limits: ClientLimitsSpec = option(
        Record(ClientLimitsSpec), "limits of the connections of clients", default=ClientLimitsSpec()
    )
