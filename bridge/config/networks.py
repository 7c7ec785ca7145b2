"""IP networks, such as those of trusted proxies."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from bridge.config.value_types import ValueType

if TYPE_CHECKING:
    from bridge.config.problems import Problems
    from bridge.config.yaml_tree import Node

__all__ = ["NETWORK", "Network"]

Network = IPv4Network | IPv6Network


class NetworkText(ValueType):
    """A network in CIDR notation, or one address."""

    expected = "a network or an address, such as 10.0.0.0/8 or 127.0.0.1"

    def accepts(self, node: Node) -> bool:
        return self._value(node) is not None

    def read(self, node: Node, problems: Problems) -> Network | None:
        return self._value(node)

    def _value(self, node: Node) -> Network | None:
        try:
            return ip_network(node.value) if isinstance(node.value, str) else None
        except ValueError:
            return None

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


NETWORK = NetworkText()
