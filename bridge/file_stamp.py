"""File stamps, by which a changed file is noticed."""

from __future__ import annotations

from pathlib import Path

__all__ = ["FileStamp", "file_stamp"]

FileStamp = tuple[int, int]  # modification time in nanoseconds, size in bytes


def file_stamp(name: str) -> FileStamp:
    """Return the stamp of a file; zeros if the file is missing, as it is while some editors write it."""
    try:
        stat = Path(name).stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)
