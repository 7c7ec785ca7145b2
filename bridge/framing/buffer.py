"""The unfinished end of what has arrived, kept in the pieces that it came in."""

from __future__ import annotations

from bridge.core.errors import UpstreamError, UpstreamFailure

__all__ = ["Tail", "too_large"]


class Tail:
    """Pieces of one unfinished frame, bounded; joined when it ends, so a long one costs no copies."""

    __slots__ = ("_limit", "_most", "_pieces", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Half of a separator may be held too, and must not make a frame at the limit one over it.
        self._most = limit + 4
        self._pieces: list[bytes] = []
        self.size = 0

    def hold(self, data: bytes) -> None:
        """Keep more of it. Raises UpstreamError over the limit."""
        if data:
            self._pieces.append(data)
            self.size += len(data)
        if self.size > self._most:
            raise too_large(self._limit)

    def endswith(self, end: bytes) -> bool:
        """Whether its last byte is this one."""
        return bool(self._pieces) and self._pieces[-1].endswith(end)

    def join(self, data: bytes = b"") -> bytes:
        """All of it, with `data` behind; the tail is empty then."""
        if not self._pieces:
            return data
        whole = b"".join([*self._pieces, data])
        self._pieces.clear()
        self.size = 0
        return whole


def too_large(limit: int) -> UpstreamError:
    """The failure of a frame over the limit."""
    return UpstreamError(
        UpstreamFailure.LIMIT,
        f"the upstream sent a frame of more than {limit} bytes (limits.frame of the route)",
    )
