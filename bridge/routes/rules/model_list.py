"""The models that `/v1/models` lists for a route beyond the names in `models`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.expressions.scope import Scope
from bridge.routes.rules.request_template import make_request

if TYPE_CHECKING:
    from bridge.routes.rules.request_template import RequestTemplate, UpstreamRequest

__all__ = ["ModelList", "model_names"]

_LISTS = ("data", "models")  # OpenAI's member, and that of Ollama, Gemini and others
_NAMES = ("id", "name", "model")
_PREFIX = "models/"  # of Gemini's names


@dataclass(frozen=True)
class ModelList:
    """The names in the file, and the request for the upstream's own list."""

    names: tuple[str, ...] = ()
    request: RequestTemplate | None = None  # None: the upstream's list is not requested

    def build_request(self) -> UpstreamRequest:
        """Return the request for the upstream's list."""
        assert self.request is not None
        return make_request(self.request, Scope({}), None, {"Accept": "application/json"})


def model_names(data: bytes) -> list[str]:
    """Return the names in an upstream's list of models, in OpenAI's or a common shape. Raises ValueError."""
    found: Any = json.loads(data)
    if isinstance(found, dict):
        found = next((found[name] for name in _LISTS if name in found), None)
    if not isinstance(found, list):
        raise ValueError("the upstream's list of models has no list in `data` or `models`")
    names = [name for item in found if (name := _name(item))]
    return list(dict.fromkeys(names))


def _name(item: Any) -> str:
    value = next((item[name] for name in _NAMES if name in item), "") if isinstance(item, dict) else item
    return value.removeprefix(_PREFIX) if isinstance(value, str) else ""
