r"""Codes of ASCII characters, for `LF in data` in place of `b"\n" in data`.

CPython takes the left side of `in` for an integer first. For bytes this raises an exception and discards it,
which takes ten times as long as the search in an ordinary event of a stream.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BACKSLASH", "CR", "LF"]

LF: Final = 0x0A
CR: Final = 0x0D
BACKSLASH: Final = 0x5C
