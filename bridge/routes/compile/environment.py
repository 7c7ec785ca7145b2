"""What a routes file may reach outside of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LoadEnvironment"]


@dataclass(frozen=True, slots=True)
class LoadEnvironment:
    """What a file may reach outside of itself.

    `read_file` gives the text of a file named in it and raises OSError; `presets` are texts by name.
    `locate` makes such a name one that can be opened from anywhere.
    """

    variables: Mapping[str, str]
    read_file: Callable[[str], str]
    presets: Mapping[str, str]
    locate: Callable[[str], str] = str
