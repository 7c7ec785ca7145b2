"""The interface of session stores. A store treats values as opaque bytes and reads its own clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SessionStore", "StoreUnavailable"]


class StoreUnavailable(Exception):  # noqa: N818 - the name states the condition of the store
    """A store that cannot be reached."""


class SessionStore(Protocol):
    """Values by route and key. Each value is returned to one caller only, who then owns the value."""

    async def pop(self, route: str, key: str) -> bytes | None:
        """Remove and return the value of a key; None if the key has no value. Raise StoreUnavailable."""

    async def put(
        self, route: str, key: str, value: bytes, *, ttl: float, max_entries: int
    ) -> Sequence[bytes]:
        """Store a value for `ttl` seconds, and return the values that the new value displaces.

        Displaced are the previous value of the key, and the oldest values of the route over `max_entries`.
        Raise StoreUnavailable.
        """

    async def pop_expired(self, route: str) -> Sequence[bytes]:
        """Remove and return a batch of expired values of a route. Raise StoreUnavailable.

        An empty batch means that no expired value remains.
        """

    async def close(self) -> Mapping[str, Sequence[bytes]]:
        """Close the store, and return by route the values that no bridge can retrieve afterwards."""
