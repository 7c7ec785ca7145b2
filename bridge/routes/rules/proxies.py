"""The choice of a forward proxy for a URL: the one of the file, or one that the environment names."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

__all__ = ["Bypass", "EnvironmentProxies", "proxy_for"]

Network: TypeAlias = IPv4Network | IPv6Network

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_TLS_SCHEMES = ("https", "wss")


@dataclass(frozen=True)
class Bypass:
    """One entry of `NO_PROXY`: servers that are reached without a proxy."""

    name: str = ""  # a host, with all hosts below the name; "": any host
    network: Network | None = None  # of addresses, in place of a name
    port: int | None = None  # None: any port

    @classmethod
    def parse(cls, entry: str) -> Bypass:
        """Return an entry such as `example.com`, `.example.com:8080`, `10.0.0.0/8`, `[::1]:80` or `*`."""
        host, port = entry, None
        before, colon, after = entry.rpartition(":")
        if colon and after.isdecimal() and (":" not in before or before.endswith("]")):
            host, port = before, int(after)
        host = host.strip("[]").lower()
        if host == "*":
            return cls(port=port)
        try:
            return cls(network=ip_network(host, strict=False), port=port)
        except ValueError:
            return cls(name=host.removeprefix("*").strip("."), port=port)

    def covers(self, host: str, port: int | None) -> bool:
        """Return whether a server is reached without a proxy. `host` is in lower case."""
        if self.port is not None and self.port != port:
            return False
        if self.network is None:
            return not self.name or host == self.name or host.endswith(f".{self.name}")
        try:
            return ip_address(host) in self.network
        except ValueError:
            return False


@dataclass(frozen=True)
class EnvironmentProxies:
    """The proxies that the environment named when the file was loaded."""

    http: str | None  # the proxy of http and ws
    https: str | None  # the proxy of https and wss
    bypasses: tuple[Bypass, ...]

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy of a URL; None: the upstream is reached directly. Raise ValueError."""
        parts = urlsplit(url)
        proxy = self.https if parts.scheme in _TLS_SCHEMES else self.http
        if proxy is None:
            return None
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or _PORTS.get(parts.scheme)
        return None if any(bypass.covers(host, port) for bypass in self.bypasses) else proxy


def proxy_for(proxy: str | EnvironmentProxies | None, url: str) -> str | None:
    """Return the proxy of a URL for a route's setting. Raise ValueError for a URL that is not valid."""
    return proxy.proxy_for(url) if isinstance(proxy, EnvironmentProxies) else proxy
