"""Values of parameters that are OpenAI's defaults: a client loses nothing if such a value is not sent on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["is_default"]

# By OpenAI's API reference (November 2026). Booleans and numbers are compared by type too.
_DEFAULTS: Final[Mapping[str, tuple[Any, ...]]] = {
    "audio": ({},),
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0, 0.0),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False, 0),
    "metadata": ({},),
    "modalities": (["text"],),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0, 0.0),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "stop": ([], ""),
    "store": (False,),
    "stream": (False,),
    "suffix": ("",),
    "temperature": (1, 1.0),
    "tools": ([],),
    "top_logprobs": (0,),
    "top_p": (1, 1.0),
    "verbosity": ("medium",),
}


def is_default(name: str, value: Any, body: Mapping[str, Any]) -> bool:
    """Return whether a parameter has the value that its absence means in OpenAI's API."""
    if name in ("tool_choice", "function_call"):
        offered = body.get("tools") or body.get("functions")
        return value == ("auto" if offered else "none") or (not offered and value == "auto")
    return any(type(value) is type(default) and value == default for default in _DEFAULTS.get(name, ()))
