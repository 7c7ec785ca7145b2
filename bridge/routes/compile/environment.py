"""The environment of a routes file: what the file may read besides itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.routes.rules.transport import TLSSpec

__all__ = ["LoadEnvironment", "accept_tls"]


def accept_tls(spec: TLSSpec) -> None:
    """Accept any certificate files: an environment without files checks none."""


@dataclass(frozen=True, slots=True)
class LoadEnvironment:
    """The sources that a file may read while it is loaded."""

    variables: Mapping[str, str] | None  # environment variables; None: each `${…}` has a placeholder
    read_file: Callable[[str], str]  # returns the text of a file that the routes file names; raises OSError
    presets: Mapping[str, str]  # texts of presets by name
    # Raises TLSFileError for certificate files that cannot be used; the names of the files are absolute.
    check_tls: Callable[[TLSSpec], None] = accept_tls
    locate: Callable[[str], str] = str  # returns the absolute path of a file that the routes file names
