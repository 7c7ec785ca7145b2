"""The address of a client: of the connection, or as trusted proxies in front of the bridge report it.

A proxy appends the address that it accepted a connection from to X-Forwarded-For. So the last address that is
not a trusted proxy's is the client's; a client can only invent addresses before that one.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network

    Networks = Sequence[IPv4Network | IPv6Network]

__all__ = ["forwarded_address", "is_trusted", "peer_address"]


def peer_address(peer: Any) -> str:
    """Return the address of a connection's other end, as `getpeername` describes it."""
    return str(_parse(peer[0])) if isinstance(peer, tuple) else ""


def is_trusted(address: str, networks: Networks) -> bool:
    """Return whether an address belongs to one of the networks."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def forwarded_address(peer: str, forwarded: Sequence[str], networks: Networks) -> str:
    """Return the client's address behind trusted proxies; `forwarded` are the X-Forwarded-For headers."""
    address = peer
    for entry in reversed(",".join(forwarded).split(",")):
        parsed = _parse(entry.strip())
        if parsed is None:
            break
        address = str(parsed)
        if not is_trusted(address, networks):
            break
    return address


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, without a port, and without the IPv6 form of IPv4; None of another text."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
