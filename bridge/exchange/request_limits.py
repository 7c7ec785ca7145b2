"""Limits of a request's lists, checked before anything is built for the request.

Without limits, 500 bytes would request thousands of upstream calls (`prompts × n`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.errors import RequestError

if TYPE_CHECKING:
    from bridge.core.json import JSONObject
    from bridge.routes.rules.settings import LimitsSpec

__all__ = ["check_call_count", "check_list_lengths"]

_MAX_STOP_CHARACTERS = 32_768  # in all strings, which every choice looks for

# The key of `limits` by the member of a body.
_KEYS = {"messages": "messages", "tools": "tools", "functions": "tools", "stop": "stops", "input": "inputs"}


def check_list_lengths(limits: LimitsSpec, body: JSONObject) -> None:
    """Raise RequestError (400) if a list of the body, or its stop strings in all, are over their limits."""
    for name, value in body.items():
        if type(value) is list and name in _KEYS and len(value) > getattr(limits, _KEYS[name]):
            _check_items(limits, name, value)
    stop = body.get("stop")
    if stop and sum(map(len, [stop] if isinstance(stop, str) else stop)) > _MAX_STOP_CHARACTERS:
        raise RequestError(
            400,
            f"`stop` has more than {_MAX_STOP_CHARACTERS} characters",
            param="stop",
            code="string_above_max_length",
        )


def _check_items(limits: LimitsSpec, name: str, items: list[Any]) -> None:
    """Raise RequestError (400) if a list over its limit holds more than the tokens of one text."""
    if name != "input" or type(items[0]) is not int:
        key = _KEYS[name]
        raise RequestError(
            400,
            f"`{name}` has {len(items)} items: expected up to {getattr(limits, key)} (limits.{key})",
            param=name,
            code="array_above_max_length",
        )


def check_call_count(limits: LimitsSpec, parts: int, calls: int, input_member: str) -> None:
    """Raise RequestError (400) if a request of `parts` prompts takes too many calls, `calls` for each."""
    count = parts * calls
    if count > limits.calls:
        raise RequestError(
            400,
            f"the request takes {count} calls to this model's server: expected up to {limits.calls}, "
            "which is the number of prompts × `n` (limits.calls)",
            param="n" if calls > parts else input_member,
            code="too_many_calls",
        )
