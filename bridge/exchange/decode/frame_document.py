"""What frames carry: the documents that rules look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.core import json
from bridge.core.deltas import MISSING

if TYPE_CHECKING:
    from bridge.core.frames import Frame

__all__ = ["INVALID_JSON", "document", "frame_text", "is_done_literal", "parse_json"]

INVALID_JSON: Final = object()
"""In place of a document: there is something, and it is no JSON."""


def document(frame: Frame, *, as_text: bool) -> tuple[Any, bytes | None]:
    """The document of a frame, MISSING where it carries nothing, and its bytes if any client can read it."""
    data = frame.data
    if isinstance(data, bytes) and not as_text:
        return parse_json(data)
    if data is None:
        return MISSING, None
    return data if isinstance(data, str) else data.decode("utf-8", "replace"), None


def parse_json(data: bytes) -> tuple[Any, bytes | None]:
    """The same of bytes that should be JSON. What only a lenient reader takes must be written anew."""
    try:
        return json.loads_strictly(data), data
    except ValueError:
        pass
    try:
        return json.loads(data), None
    except ValueError:
        return INVALID_JSON if data.strip() else MISSING, None


def is_done_literal(frame: Frame, literal: str) -> bool:
    """Whether a frame is the word for the end, perhaps in quotes (Coze)."""
    data = frame.data
    return (
        isinstance(data, bytes)
        and len(data) <= len(literal) * 4 + 8
        and data.strip().strip(b'"') == literal.encode()
    )


def frame_text(frame: Frame) -> str:
    """What a frame says literally."""
    data = frame.data or b""
    return data if isinstance(data, str) else data.decode("utf-8", "replace")
