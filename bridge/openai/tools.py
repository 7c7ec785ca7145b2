r"""Calls of tools in OpenAI's delta form, whatever form the server streams them in.

    {"id": "a", "name": "pick", "arguments": {}}   ─▶   {"index": 0, "id": "a", "type": "function",
                                                         "function": {"name": "pick", "arguments": "{}"}}

Clients find a call by its index, which counts from 0 without gaps, and join whatever comes twice: so id,
type and name are said once, and arguments are text. What else the server says of a call stays.
"""

from __future__ import annotations

from typing import Any

from bridge import json

__all__ = ["ToolCalls", "whole_call"]

Body = dict[str, Any]

_OWN = {"index", "id", "type", "function"}


class ToolCalls:
    """The calls of one choice as they come. `prefix` begins the ids of those that come without one."""

    __slots__ = ("_ids", "_places", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._places: dict[int, int] = {}  # ours by the server's index
        self._ids: list[str] = []

    def __bool__(self) -> bool:
        """Whether there were any."""
        return bool(self._ids)

    def delta(self, call: Body) -> Body:
        """One piece of a call."""
        function, rest = _parts(call)
        name = function.get("name")
        place = self._place(call, name)
        if place < len(self._ids):
            said = {key: value for key, value in function.items() if key != "name"}
            return {"index": place, "function": _with_arguments(said), **rest}
        self._ids.append(str(call.get("id") or f"{self._prefix}_{place}"))
        return {
            "index": place,
            "id": self._ids[place],
            "type": _type(call),
            "function": _with_arguments(function, name=str(name or "")),
            **rest,
        }

    def _place(self, call: Body, name: Any) -> int:
        """Which call a piece belongs to; one behind the last for another."""
        index, known = call.get("index"), call.get("id")
        if type(index) is int:
            place = self._places.setdefault(index, len(self._ids))
            another = name and known and place < len(self._ids) and str(known) != self._ids[place]
            if another:  # all of them under one index, as Gemini had it
                self._places[index] = len(self._ids)
            return self._places[index]
        if known and str(known) in self._ids:
            return self._ids.index(str(known))
        return len(self._ids) if known or name else max(len(self._ids) - 1, 0)


def whole_call(number: int, call: Body) -> Body:
    """One call of a whole answer."""
    function, rest = _parts(call)
    kept = {"index": call["index"]} if "index" in call else {}
    return {
        **kept,
        "id": str(call.get("id") or f"call_{number}"),
        "type": _type(call),
        "function": _with_arguments(function, name=str(function.get("name") or "")),
        **rest,
    }


def _parts(call: Body) -> tuple[Body, Body]:
    """Its function, which may stand in the call itself, and what else it says."""
    function = call.get("function")
    if isinstance(function, dict):
        return function, {key: value for key, value in call.items() if key not in _OWN}
    flat: Body = {key: call[key] for key in ("name", "arguments") if key in call}
    return flat, {key: value for key, value in call.items() if key not in _OWN | flat.keys()}


def _with_arguments(function: Body, **more: str) -> Body:
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = "" if arguments is None else json.dumps(arguments).decode()
    return {**function, **more, "arguments": arguments}


def _type(call: Body) -> str:
    found = call.get("type")
    return found if isinstance(found, str) and found else "function"
