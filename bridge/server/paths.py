"""The paths of the API in the spellings that clients use.

    /v1/chat/completions   /chat/completions/   //v1//chat/completions            ─▶  /chat/completions
    /openai/deployments/NAME/chat/completions   /openai/v1/chat/completions       ─▶  /chat/completions

Azure's clients send the second kind. They name the deployment in the body too, as `model`.
"""

from __future__ import annotations

import re

__all__ = ["api_path"]

_SLASHES = re.compile("/{2,}")  # a base URL with a slash at its end doubles the next one
_AZURE = re.compile("/openai(?:/deployments/[^/]+)?(?=/)")


def api_path(path: str) -> str:
    """Return a path without version, Azure's prefix, and superfluous slashes."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    if path.startswith("/openai/"):
        path = _AZURE.sub("", path, count=1)
    return path.removeprefix("/v1").rstrip("/")
