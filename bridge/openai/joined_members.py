"""Members of a message, joined from the deltas of a stream.

{"refusal": "I ", "annotations": [1]} and {"refusal": "cannot.", "annotations": [2]}
  ─▶  {"refusal": "I cannot.", "annotations": [1, 2]}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["join_members"]

_TEXTS = frozenset({"refusal", "arguments", "name", "data", "transcript", "thinking", "signature"})


def join_members(message: JSONObject, delta: JSONObject) -> None:
    """Add the members of a delta: join texts, lists and objects, and replace other values."""
    for name, value in delta.items():
        old = message.get(name)
        if isinstance(old, list) and isinstance(value, list):
            message[name] = [*old, *value]
        elif isinstance(old, dict) and isinstance(value, dict):
            message[name] = joined = {**old}
            join_members(joined, value)
        elif isinstance(old, str) and isinstance(value, str) and name in _TEXTS:
            message[name] = old + value
        else:
            message[name] = value
