"""File stamps, by which a changed file is noticed."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["FileStamp", "file_stamp"]


class FileStamp(NamedTuple):
    """The identity of a file: another file under the same name has another stamp.

    Time and size are not enough: a link may lead to another file of the same size, and image volumes, rsync
    and `cp -p` give files equal times.
    """

    path: str = ""  # to which links lead
    device: int = 0
    inode: int = 0
    size: int = 0  # bytes
    modified: int = 0  # nanoseconds
    changed: int = 0  # nanoseconds; no program can set this time


def file_stamp(name: str) -> FileStamp:
    """Return the stamp of a file; an empty stamp if the file is missing, as while some editors write."""
    try:
        path = os.path.realpath(name)
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return FileStamp()
    return FileStamp(path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
