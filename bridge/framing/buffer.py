"""The buffer of a framer: the unfinished end of the data, in the pieces in which the data arrived."""

from __future__ import annotations

from bridge.core.errors import UpstreamError, UpstreamFailure

__all__ = ["FrameBuffer", "too_large"]


class FrameBuffer:
    """The pieces of one unfinished frame, up to a limit.

    The pieces are joined when the frame ends, so that a long frame is copied once.
    """

    __slots__ = ("_capacity", "_limit", "_pieces", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Part of a separator may be held too, and must not push a frame of exactly the limit over the limit.
        self._capacity = limit + 4
        self._pieces: list[bytes] = []
        self.size = 0  # bytes

    def append(self, data: bytes) -> None:
        """Append data. Raises UpstreamError over the limit."""
        if data:
            self._pieces.append(data)
            self.size += len(data)
        if self.size > self._capacity:
            raise too_large(self._limit)

    def endswith(self, end: bytes) -> bool:
        """Return whether the last piece ends so."""
        return bool(self._pieces) and self._pieces[-1].endswith(end)

    def take(self, data: bytes = b"") -> bytes:
        """Return all pieces followed by `data`, and empty the buffer."""
        if not self._pieces:
            return data
        joined = b"".join([*self._pieces, data])
        self._pieces.clear()
        self.size = 0
        return joined


def too_large(limit: int) -> UpstreamError:
    """Return the error of a frame over the limit."""
    return UpstreamError(
        UpstreamFailure.LIMIT,
        f"the upstream sent a frame of more than {limit} bytes (limits.frame of the route)",
    )
