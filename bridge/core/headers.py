"""HTTP headers as they arrive: names in any case, repeated names, values in any encoding (RFC 9110, 5).

lower_names({b"Content-Type": b"text/plain", …}) ─▶ {b"content-type": b"text/plain"}
Headers(…)["content-type"]                       ─▶ "text/plain"
RequestHeaders({"X-Team": "a"}).lines            ─▶ "X-Team: a\r\n"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["Headers", "RequestHeaders", "can_be_sent", "header_bytes", "lower_names"]


def can_be_sent(value: str) -> bool:
    """Return whether a text can be the value of a header."""
    # A line break would begin another header; half a surrogate pair cannot be encoded.
    return not any(character in "\r\n\0" or "\ud800" <= character <= "\udfff" for character in value)


def lower_names(named: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return headers by lower-case name. Of names that differ only in case, the first is kept."""
    return {name.lower(): value for name, value in reversed(named.items())}


def header_bytes(named: dict[bytes, bytes]) -> int:
    """Return the bytes of all names and values."""
    return sum(map(len, named)) + sum(map(len, named.values()))


class Headers(Mapping[str, str]):
    """Headers as text, by lower-case name. Values are decoded on access, since few of them are read."""

    __slots__ = ("_fields",)

    def __init__(self, named: Mapping[bytes, bytes]) -> None:
        self._fields = named

    def __getitem__(self, name: str) -> str:
        return self._fields[name.encode()].decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("utf-8", "replace") for name in self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class RequestHeaders(Mapping[str, str]):
    """Headers to send, which never change. They are formatted once for all requests that share them.

    Attributes:
        names: The names in lower case.
        lines: The lines of the head.
    """

    __slots__ = ("_fields", "lines", "names")

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields
        self.names = frozenset(map(str.lower, fields))
        # Values cannot contain line breaks, since the templates reject them.
        self.lines = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])

    def __getitem__(self, name: str) -> str:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)
