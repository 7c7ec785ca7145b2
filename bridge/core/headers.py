"""Headers of HTTP as they came: names in any case, several by one name, values in any encoding (RFC 9110, 5).

    lowered({b"Content-Type": b"text/plain", …}) ─▶ {b"content-type": b"text/plain"}
    Headers(…)["content-type"]                   ─▶ "text/plain"

Few of them are ever looked at: they are decoded when they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["Headers", "header_bytes", "lower_names"]


def lower_names(named: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The same by lower-case name; of several that differ in case alone the first stands."""
    return dict(zip(map(bytes.lower, reversed(named)), reversed(named.values()), strict=True))


def header_bytes(named: dict[bytes, bytes]) -> int:
    """How many bytes there are of names and values."""
    return sum(map(len, named)) + sum(map(len, named.values()))


class Headers(Mapping[str, str]):
    """The same as texts, by names in lower case."""

    __slots__ = ("_fields",)

    def __init__(self, named: Mapping[bytes, bytes]) -> None:
        self._fields = named

    def __getitem__(self, name: str) -> str:
        return self._fields[name.encode()].decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("utf-8", "replace") for name in self._fields)

    def __len__(self) -> int:
        return len(self._fields)
