r"""Calls of tools in OpenAI's delta form, whatever form the server streams them in.

    {"id": "a", "name": "pick", "arguments": {}}   ─▶   {"index": 0, "id": "a", "type": "function",
                                                         "function": {"name": "pick", "arguments": "{}"}}

Clients find a call by its index, which counts from 0 without gaps, and join whatever comes twice: so id,
type and name are said once, and arguments are text. What else the server says of a call stays.

What OpenAI's shape, or nearly that, means is guessed (`delta`); the pieces of a server's own format are exact
(`piece`). A call that ends without arguments gets `{}`, since clients parse them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.deltas import ToolCallFragment
from bridge.core.messages import arguments_text

if TYPE_CHECKING:
    from bridge.core.json import JSONObject

__all__ = ["ToolCallAssembler", "normalize_tool_call"]

_OWN = {"index", "id", "type", "function"}


class ToolCallAssembler:
    """The calls of one choice as they come. `prefix` begins the ids of those that come without one."""

    __slots__ = ("_ids", "_pending_arguments", "_places", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._places: dict[int, int] = {}  # ours by the server's index
        self._ids: list[str] = []
        self._pending_arguments: dict[int, str] = {}  # the arguments of calls of which none have come

    def __bool__(self) -> bool:
        """Whether there were any."""
        return bool(self._ids)

    def delta(self, call: JSONObject) -> JSONObject:
        """One piece of a call, in OpenAI's shape or nearly that."""
        delta = self._delta(call)
        if delta["function"]["arguments"]:
            self._pending_arguments.pop(delta["index"], None)
        elif "id" in delta:
            self._pending_arguments[delta["index"]] = "{}"
        return delta

    def read(self, found: list[Any]) -> list[JSONObject]:
        """What pieces of either kind add; what is neither is no call."""
        deltas = [
            self.piece(one) if isinstance(one, ToolCallFragment) else self.delta(one)
            for one in found
            if isinstance(one, ToolCallFragment | dict)
        ]
        return [delta for delta in deltas if delta]

    def piece(self, piece: ToolCallFragment) -> JSONObject | None:
        """One piece of a call in a format that says which; None where it adds nothing."""
        if piece.name is not None:
            return self._begin(piece, piece.name)
        # A block that is no call of the client's, such as a search of the server's own, was never begun.
        if piece.at is None or piece.at not in self._places:
            return None
        place = self._places[piece.at]
        if piece.ended:
            del self._places[piece.at]
            return self._told(place) if place in self._pending_arguments else None
        if not piece.arguments:
            return None
        self._pending_arguments.pop(place, None)
        return {"index": place, "function": {"arguments": piece.arguments}}

    def close(self) -> list[JSONObject] | None:
        """What is left to say, now that all calls have ended: the arguments of those without any."""
        return [self._told(place) for place in list(self._pending_arguments)] or None

    def _told(self, place: int) -> JSONObject:
        return {"index": place, "function": {"arguments": self._pending_arguments.pop(place)}}

    def _begin(self, piece: ToolCallFragment, name: str) -> JSONObject:
        place = len(self._ids)
        # Results are found by their call's id, so two calls cannot share one.
        known = piece.id if piece.id and piece.id not in self._ids else f"{self._prefix}_{place}"
        self._ids.append(known)
        if piece.at is not None:
            self._places[piece.at] = place
        if not piece.arguments:
            self._pending_arguments[place] = piece.default_arguments
        function = {"name": name, "arguments": piece.arguments}
        return {"index": place, "id": known, "type": "function", "function": function, **piece.more}

    def _delta(self, call: JSONObject) -> JSONObject:
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

    def _place(self, call: JSONObject, name: Any) -> int:
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


def normalize_tool_call(number: int, call: JSONObject) -> JSONObject:
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


def _parts(call: JSONObject) -> tuple[JSONObject, JSONObject]:
    """Its function, which may stand in the call itself, and what else it says."""
    function = call.get("function")
    if isinstance(function, dict):
        return function, {key: value for key, value in call.items() if key not in _OWN}
    flat: JSONObject = {key: call[key] for key in ("name", "arguments") if key in call}
    return flat, {key: value for key, value in call.items() if key not in _OWN | flat.keys()}


def _with_arguments(function: JSONObject, **more: str) -> JSONObject:
    return {**function, **more, "arguments": arguments_text(function.get("arguments"))}


def _type(call: JSONObject) -> str:
    found = call.get("type")
    return found if isinstance(found, str) and found else "function"
