"""What every store of kept sessions is. Values are opaque; `now` is the store's own affair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SessionStore", "StoreUnavailable"]


class StoreUnavailable(Exception):  # noqa: N818 - said of the store, not of an error
    """The store cannot be reached."""


class SessionStore(Protocol):
    """Values by key, for each route. A value is given out once: whoever takes it has it alone."""

    async def pop(self, route: str, key: str) -> bytes | None:
        """The value under a key, which is gone then; None where there is none. Raises StoreLost."""

    async def put(self, route: str, key: str, value: bytes, *, ttl: float, most: int) -> Sequence[bytes]:
        """Keep a value for so many seconds; the values that had to go for it. Raises StoreLost."""

    async def pop_expired(self, route: str) -> Sequence[bytes]:
        """The values that were kept too long, which are gone then. Raises StoreLost."""

    async def close(self) -> Mapping[str, Sequence[bytes]]:
        """End it; the values by route that nobody can find any more."""
