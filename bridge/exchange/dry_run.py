"""A whole exchange on one answer, by plain calls: what `check` and `explain` show without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.framing.length_delimited import encode_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.exchange.exchange import Exchange
    from bridge.exchange.upstream_call import UpstreamCall

__all__ = ["encode_sample", "fill_placeholders", "simulate"]


def fill_placeholders(call: UpstreamCall) -> None:
    """Fill in what the calls ahead of an answer would bring: each value is its own name in capitals."""
    for callout in call.builder.route.callouts.all:
        for name, _ in callout.values:
            call.builder.document[name] = name.upper()


def encode_sample(exchange: Exchange, said: Any) -> bytes:
    """The bytes of an answer that a person wrote down: JSON, raw text, the bytes of a file.

    Of a websocket it is the list of its messages; in a file each has a line.
    """
    stream = exchange.calls[0].plan.stream_rule
    if stream is None or not stream.framing.is_websocket:
        return _written(said)
    messages = said.split(b"\n") if isinstance(said, bytes) else said if isinstance(said, list) else [said]
    return b"".join(encode_message(_written(one)) for one in messages)


def _written(said: Any) -> bytes:
    if isinstance(said, bytes):
        return said
    return said.encode() if isinstance(said, str) else json.dumps(said)


def simulate(
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
    for call in exchange.calls:
        exchange.start(call, status, headers or {})
        for piece in pieces:
            if exchange.finished(call):
                break
            out += exchange.feed(call, piece)
        if complete:
            out += exchange.close(call)
        else:
            out += exchange.connection_lost(
                call, UpstreamError(UpstreamFailure.DISCONNECT, "the upstream closed the connection")
            )
    return out
