"""A whole exchange by plain calls, without an upstream: what `check` and `explain` show."""

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
    """Give each value that a callout would bring a placeholder: the value's name in capitals."""
    for callout in call.plan.route.callouts.all:
        for name, _ in callout.values:
            call.builder.document[name] = name.upper()


def encode_sample(exchange: Exchange, sample: Any) -> bytes:
    """Return the bytes of a response that a person wrote as JSON, as raw text, or as the bytes of a file.

    The response of a websocket is the list of its messages; in a file each message has a line.
    """
    stream = exchange.calls[0].plan.stream_rule
    if stream is None or not stream.framing.is_websocket:
        return _sample_bytes(sample)
    if isinstance(sample, bytes):
        sample = sample.split(b"\n")
    messages = sample if isinstance(sample, list) else [sample]
    return b"".join(encode_message(_sample_bytes(message)) for message in messages)


def simulate(
    exchange: Exchange,
    parts: Iterable[bytes],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    complete: bool = True,
) -> bytes:
    """Return the client's response if every upstream call gets this response, in these parts.

    `complete` False: the connection breaks after the parts. A failure before any output leaves no bytes, and
    sets `exchange.error`.
    """
    parts = list(parts)
    out: list[bytes] = []
    for call in exchange.calls:
        exchange.start(call, status, headers or {})
        for part in parts:
            if exchange.finished(call):
                break
            out.append(exchange.feed(call, part))
        if complete:
            out.append(exchange.close(call))
        else:
            error = UpstreamError(UpstreamFailure.DISCONNECT, "the upstream closed the connection")
            out.append(exchange.connection_lost(call, error))
    return b"".join(out)


def _sample_bytes(sample: Any) -> bytes:
    if isinstance(sample, bytes):
        return sample
    return sample.encode() if isinstance(sample, str) else json.dumps(sample)
