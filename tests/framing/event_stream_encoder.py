"""AWS event streams as their specification says them, written from it alone.

total length, headers' length, CRC of both │ headers │ payload │ CRC of all before      (big-endian)
a header: length of the name, name, type, value as its type has it
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
    """A header's value of one byte."""


class Short(int):
    """One of two."""


class Integer(int):
    """One of four."""


class Long(int):
    """One of eight."""


Header = bool | Byte | Short | Integer | Long | bytes | str | datetime | UUID


def header(name: str, value: Header) -> bytes:
    """One header."""
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
    headers: bytes, payload: bytes, *, total: int | None = None, ahead: int | None = None
) -> bytes:
    """A message of headers that are bytes already. `total` and `ahead`: the lengths it lies about."""
    lengths = struct.pack(
        "!II",
        12 + len(headers) + len(payload) + 4 if total is None else total,
        len(headers) if ahead is None else ahead,
    )
    begun = lengths + struct.pack("!I", crc32(lengths)) + headers + payload
    return begun + struct.pack("!I", crc32(begun))


def event_stream_message(headers: Mapping[str, Header], payload: bytes = b"") -> bytes:
    """A message."""
    return raw_message(b"".join(header(name, value) for name, value in headers.items()), payload)


def bedrock_event(kind: str, payload: bytes) -> bytes:
    """A message as Bedrock writes one."""
    return event_stream_message(
        {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload
    )
