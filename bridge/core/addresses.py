"""Addresses to listen on: HOST:PORT, [IPV6]:PORT, or :PORT for every interface."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

__all__ = ["ADDRESS_FORM", "PORT_PATTERN", "Address", "is_local", "parse_addresses"]

ADDRESS_FORM = "HOST:PORT, such as 127.0.0.1:8080"

PORT_PATTERN = r"(6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|\d{1,4})"

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/@\[\]]*):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65535


class Address(NamedTuple):
    """An address to listen on."""

    host: str  # "": every interface
    port: int  # 0: any free port

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine reaches the address."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_addresses(text: str) -> list[Address]:
    """Return the addresses of a text, which commas separate. Raises ValueError that contains the remedy."""
    return [_parse(part.strip()) for part in text.split(",")]


def is_local(text: str) -> bool:
    """Return whether only this machine reaches the addresses of a text."""
    return all(address.is_loopback for address in parse_addresses(text))


def _parse(text: str) -> Address:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > _MAX_PORT:
        raise ValueError(f"`{text}` is not a valid address: expected {ADDRESS_FORM}")
    return Address(match["host"].strip("[]"), int(match["port"]))
