"""The list of models, in the shape of OpenAI's API or of Anthropic's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bridge.core.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.json import JSONObject

__all__ = ["ANTHROPIC_VERSION", "describe_model", "describe_models", "unknown_model"]

ANTHROPIC_VERSION = "Anthropic-Version"
"""The header that every client of Anthropic's API sends."""


def describe_model(name: str, created: int, *, for_anthropic: bool) -> JSONObject:
    """Return the description of a model. `created` is in seconds of Unix time."""
    if for_anthropic:
        created_at = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"type": "model", "id": name, "display_name": name, "created_at": created_at}
    return {"id": name, "object": "model", "created": created, "owned_by": "bridge"}


def describe_models(names: Sequence[str], created: int, *, for_anthropic: bool) -> JSONObject:
    """Return the list of models."""
    models = [describe_model(name, created, for_anthropic=for_anthropic) for name in names]
    if for_anthropic:
        first, last = (models[0]["id"], models[-1]["id"]) if models else (None, None)
        return {"data": models, "has_more": False, "first_id": first, "last_id": last}
    return {"object": "list", "data": models}


def unknown_model(name: str) -> RequestError:
    """Return the error for a model that no route serves."""
    return RequestError(404, f"the model `{name}` does not exist", param="model", code="model_not_found")
