"""Bounds of JSON that strangers send: how many values there are, and how deep values nest.

The work of every check here is linear in the size of its input, and its memory does not grow with strings.
"""

from __future__ import annotations

from typing import Any, Final

from bridge.core.ascii_codes import BACKSLASH

__all__ = ["MAX_INLINE", "has_more_values", "nests_deeper"]

MAX_INLINE: Final = 128 * 2**10
"""Bytes of JSON above which work on a body runs in a thread, so that the event loop goes on meanwhile.

For a smaller body, handing the work to a thread would take longer than the work.
"""

_CHUNK: Final = 2**16  # bytes; the parts of a chunk take some megabytes


def has_more_values(data: bytes, limit: int) -> bool:
    """Return whether JSON text has more values than a limit, counted by its commas and opening brackets.

    The text need not be valid.
    """
    if len(data) <= limit or sum(map(data.count, _SEPARATORS)) <= limit:
        return False
    # Some separators may be in strings, such as a document in CSV: only a count without strings is exact.
    marks = _without_escapes(data).translate(None, _UNMARKED)
    # Each value has up to two strings, one of which is its name.
    if marks.count(b'"') > 4 * (limit + 1):
        return True
    count, outside = 0, 0
    for start in range(0, len(marks), _CHUNK):
        parts = marks[start : start + _CHUNK].split(b'"')
        count += sum(map(len, parts[outside::2]))
        outside = (outside + len(parts) - 1) % 2
    return count > limit


def nests_deeper(value: Any, levels: int) -> bool:
    """Return whether objects and arrays nest deeper than a number of levels."""
    level = [value] if type(value) is dict or type(value) is list else []
    for _ in range(levels):
        if not level:
            return False
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
    return bool(level)


def _without_escapes(data: bytes) -> bytes:
    """Return JSON text without escaped backslashes and quotes, so that every quote delimits a string."""
    return data.replace(b"\\\\", b"").replace(b'\\"', b"") if BACKSLASH in data else data


_SEPARATORS = (b",", b"[", b"{")
_UNMARKED = bytes(set(range(256)) - set(b',[{"'))
