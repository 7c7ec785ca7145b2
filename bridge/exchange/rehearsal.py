"""A whole exchange on one answer, by plain calls: what `check` and `explain` show without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.errors import Kind, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.exchange.exchange import Exchange

__all__ = ["rehearse"]


def rehearse(
    exchange: Exchange,
    pieces: Iterable[bytes],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    complete: bool = True,
) -> bytes:
    """What the client gets when every call is answered so.

    `complete` False: the connection breaks after the pieces. A failure before any output leaves no bytes
    but `exchange.error`.
    """
    pieces = list(pieces)
    out = b""
    for leg in exchange.legs:
        exchange.start(leg, status, headers or {})
        for piece in pieces:
            if exchange.finished(leg):
                break
            out += exchange.feed(leg, piece)
        if complete:
            out += exchange.close(leg)
        else:
            out += exchange.cut(leg, UpstreamError(Kind.DISCONNECT, "the upstream closed the connection"))
    return out
