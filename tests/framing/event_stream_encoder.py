"""An encoder of AWS event streams, written from their specification alone.

total length, headers length, CRC of both │ headers │ payload │ CRC of everything before      (big-endian)
header: length of the name, name, type, value by its type
"""

from __future__ import annotations

import struct
from binascii import crc32
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Byte",
    "Header",
    "Integer",
    "Long",
    "Short",
    "bedrock_event",
    "event_stream_message",
    "header",
    "raw_message",
]


class Byte(int):
    """A header value of one byte."""


class Short(int):
    """A header value of two bytes."""


class Integer(int):
    """A header value of four bytes."""


class Long(int):
    """A header value of eight bytes."""


Header = bool | Byte | Short | Integer | Long | bytes | str | datetime | UUID


def header(name: str, value: Header) -> bytes:
    """Return an encoded header."""
    return struct.pack("!B", len(name.encode())) + name.encode() + _value(value)


def _value(value: Header) -> bytes:
    match value:
        case bool():
            return struct.pack("!B", 0 if value else 1)
        case Byte():
            return struct.pack("!Bb", 2, value)
        case Short():
            return struct.pack("!Bh", 3, value)
        case Integer():
            return struct.pack("!Bi", 4, value)
        case Long():
            return struct.pack("!Bq", 5, value)
        case bytes():
            return struct.pack("!BH", 6, len(value)) + value
        case str():
            return struct.pack("!BH", 7, len(value.encode())) + value.encode()
        case datetime():
            return struct.pack("!Bq", 8, int(value.astimezone(UTC).timestamp() * 1000))
        case UUID():
            return struct.pack("!B", 9) + value.bytes


def raw_message(
    headers: bytes, payload: bytes, *, total: int | None = None, headers_length: int | None = None
) -> bytes:
    """Return a message of encoded headers; `total` and `headers_length` replace its correct lengths."""
    lengths = struct.pack(
        "!II",
        12 + len(headers) + len(payload) + 4 if total is None else total,
        len(headers) if headers_length is None else headers_length,
    )
    message = lengths + struct.pack("!I", crc32(lengths)) + headers + payload
    return message + struct.pack("!I", crc32(message))


def event_stream_message(headers: Mapping[str, Header], payload: bytes = b"") -> bytes:
    """Return an encoded message."""
    return raw_message(b"".join(header(name, value) for name, value in headers.items()), payload)


def bedrock_event(kind: str, payload: bytes) -> bytes:
    """Return a message as Bedrock writes one."""
    return event_stream_message(
        {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload
    )
