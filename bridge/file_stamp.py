"""What changes when a file does."""

from __future__ import annotations

from pathlib import Path

__all__ = ["FileStamp", "file_stamp"]

FileStamp = tuple[float, int]


def file_stamp(name: str) -> FileStamp:
    """What changes when a file does. A file that is gone for a moment, as editors do, has not changed."""
    try:
        found = Path(name).stat()
    except OSError:
        return (0.0, 0)
    return (found.st_mtime_ns, found.st_size)
