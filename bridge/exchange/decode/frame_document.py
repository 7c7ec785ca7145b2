"""Documents of frames and bodies: the JSON values that the rules read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.core import json
from bridge.core.deltas import MISSING
from bridge.core.errors import UpstreamError, UpstreamFailure
from bridge.core.json_bounds import has_more_values

if TYPE_CHECKING:
    from bridge.core.frames import Frame

__all__ = ["INVALID_JSON", "frame_document", "frame_text", "is_done_literal", "parse_json"]

INVALID_JSON: Final = object()
"""In place of the document of bytes that are not JSON."""

_MAX_BYTES_PER_CHARACTER = 4  # of UTF-8
_MAX_PADDING = 8  # bytes of white space and quotes around the literal that ends a stream


def frame_document(frame: Frame, max_values: int, *, as_text: bool) -> tuple[Any, bytes | None]:
    """Return the document of a frame, MISSING without data, and its bytes if they are strict JSON.

    Raises UpstreamError if the document has more than `max_values` JSON values.
    """
    data = frame.data
    if isinstance(data, bytes) and not as_text:
        return parse_json(data, max_values)
    if data is None:
        return MISSING, None
    return data if isinstance(data, str) else data.decode("utf-8", "replace"), None


def parse_json(data: bytes, max_values: int, *, in_steps: bool = False) -> tuple[Any, bytes | None]:
    """Return the document in some bytes, and the bytes if they are strict JSON.

    Bytes that only a lenient parser reads must not be forwarded. Empty bytes give MISSING, and bytes that are
    not JSON give INVALID_JSON. With `in_steps`, as in a thread, many values do not hold the other threads.

    Raises UpstreamError if the document has more than `max_values` JSON values.
    """
    if has_more_values(data, max_values):
        message = f"the upstream sent more than {max_values} JSON values (four times limits.values)"
        raise UpstreamError(UpstreamFailure.LIMIT, message)
    try:
        if in_steps and has_more_values(data, json.MAX_AT_ONCE):
            doc, strict = json.loads_numbers(data)
            return doc, data if strict else None
        return json.loads_strictly(data), data
    except ValueError:
        pass
    try:
        return json.loads(data), None
    except ValueError:
        return INVALID_JSON if data.strip() else MISSING, None


def is_done_literal(frame: Frame, literal: str) -> bool:
    """Return whether a frame is the literal that ends the stream, perhaps in quotes (Coze)."""
    data = frame.data
    return (
        isinstance(data, bytes)
        and len(data) <= len(literal) * _MAX_BYTES_PER_CHARACTER + _MAX_PADDING
        and data.strip().strip(b'"') == literal.encode()
    )


def frame_text(frame: Frame) -> str:
    """Return the data of a frame as text."""
    data = frame.data or b""
    return data if isinstance(data, str) else data.decode("utf-8", "replace")
