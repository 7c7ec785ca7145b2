"""Framings inside the messages of a WebSocket or an event stream (`stream.inner`).

base64      {"bytes": "eyJ…"}: base64 of JSON (Bedrock's InvokeModelWithResponseStream)
sse, …      another framing, over the payloads of all messages joined
"""

from __future__ import annotations

from binascii import Error as InvalidBase64
from binascii import a2b_base64
from typing import TYPE_CHECKING

from bridge.core import json
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.framing.framer import Framer

__all__ = ["Base64Framer", "NestedFramer"]


class Base64Framer:
    """Decodes the member `bytes` of the messages of another framer. Errors are plain JSON."""

    __slots__ = ("_outer",)

    def __init__(self, outer: Framer) -> None:
        self._outer = outer

    def feed(self, data: bytes) -> Iterator[Frame]:
        return map(_decoded, self._outer.feed(data))

    def close(self) -> Iterator[Frame]:
        return map(_decoded, self._outer.close())


class NestedFramer:
    """Cuts the joined payloads of messages by another framer. Errors stay messages of their own."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, outer: Framer, inner: Framer) -> None:
        self._outer = outer
        self._inner = inner

    def feed(self, data: bytes) -> Iterator[Frame]:
        return self._frames(self._outer.feed(data))

    def close(self) -> Iterator[Frame]:
        yield from self._frames(self._outer.close())
        yield from self._inner.close()

    def _frames(self, messages: Iterable[Frame]) -> Iterator[Frame]:
        for message in messages:
            if message.fields.get("event") == "error":
                yield message
            elif isinstance(message.data, bytes):
                yield from self._inner.feed(message.data)


def _decoded(frame: Frame) -> Frame:
    if frame.data is None or frame.fields.get("event") == "error":
        return frame
    try:
        data = a2b_base64(json.loads(frame.data)["bytes"], strict_mode=True)
        return Frame(data or None, frame.fields)
    except (ValueError, TypeError, KeyError, InvalidBase64):
        raise UpstreamError(
            UpstreamFailure.MALFORMED,
            'the upstream sent a message without base64: expected {"bytes": "…"}',
        ) from None
