"""Mends what servers that nearly speak OpenAI's language get wrong; what is right stays as it is.

    ChunkMender.mend(chunk) ─▶ the same object, a mended copy, or None for a chunk that must not go on
    mend_completion(body)   ─▶ the same object, or a mended copy

Vendor fields, tool calls and log probabilities stay. The faults are those that servers show and clients
break on: ids that change, a float `created`, a role in every delta, no index, no or a second finish, calls
of tools without index, chunks without choices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge import json
from bridge.deltas import FINISH_REASONS
from bridge.openai.endpoints import CHAT

if TYPE_CHECKING:
    from bridge.openai.replies import Head

__all__ = ["ChunkMender", "mend_completion"]

Body = dict[str, Any]


class ChunkMender:
    """Mends the chunks of one stream. `head` says what the first chunk does not.

    `found`: something was said, be it empty; `said`: more than that. `finished`: the choices that have had
    their finish.
    """

    __slots__ = ("_calls", "_head", "_known", "_roles", "finished", "found", "said")

    def __init__(self, head: Head) -> None:
        self._head = head
        self._known = False
        self._roles: set[int] = set()
        self._calls: dict[int, dict[int, Any]] = {}
        self.finished: set[int] = set()
        self.found = False
        self.said = False

    @property
    def head(self) -> Head:
        """What is the same in every chunk."""
        return self._head

    def mend(self, chunk: Body) -> Body | None:
        """A chunk that has choices, as clients expect it."""
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return None
        mended = [self._choice(number, choice) for number, choice in enumerate(choices)]
        kept = [choice for choice in mended if choice is not None]
        if not kept:
            return None
        self._learn(chunk)
        unchanged = len(kept) == len(choices) and all(
            one is other for one, other in zip(kept, choices, strict=True)
        )
        # Counts that were asked for come at the end, once: a client may add up what it gets.
        early = self._head.include_usage and isinstance(chunk.get("usage"), dict)
        if unchanged and not early and self._agrees(chunk):
            return chunk
        return self.frame(chunk) | {"choices": kept} | ({"usage": None} if early else {})

    def frame(self, chunk: Body) -> Body:
        """A chunk under the id, created and model of this stream."""
        head = self._head
        return {
            **chunk,
            "id": head.id,
            "object": head.endpoint.chunk_object,
            "created": head.created,
            "model": head.model,
        }

    def finish(self) -> list[Body]:
        """Finish chunks for the choices that had none."""
        missing = sorted((self._roles or {0}) - self.finished)
        return [self.frame({}) | {"choices": [self._last(index)]} for index in missing]

    def _last(self, index: int) -> Body:
        reason = "tool_calls" if self._calls.get(index) else "stop"
        said: Body = {"delta": {}} if self._head.endpoint is CHAT else {"text": ""}
        return {"index": index, **said, "logprobs": None, "finish_reason": reason}

    def _learn(self, chunk: Body) -> None:
        """The first chunk that goes on says what the stream is called."""
        if self._known:
            return
        self._known = True
        self._head = self._head._replace(
            id=_text(chunk.get("id")) or self._head.id,
            created=_integer(chunk.get("created")) or self._head.created,
            model=_text(chunk.get("model")) or self._head.model,
        )

    def _agrees(self, chunk: Body) -> bool:
        head = self._head
        return (
            chunk.get("id") == head.id
            and chunk.get("model") == head.model
            and chunk.get("object") == head.endpoint.chunk_object
            and type(chunk.get("created")) is int
            and chunk["created"] == head.created
        )

    def _choice(self, number: int, choice: Any) -> Body | None:
        if not isinstance(choice, dict):
            return None
        index = choice.get("index")
        index = index if type(index) is int else number
        key = "delta" if self._head.endpoint is CHAT else "text"
        said = self._delta(index, choice) if key == "delta" else self._text(choice)
        raw = choice.get("finish_reason")
        finish = finish_word(raw)
        if said is None and finish is None:
            return None  # an annotation, such as Azure's content filter sends
        if index in self.finished:
            if finish is None or not said:
                return None
            finish = None
        elif finish is not None:
            self.finished.add(index)
            # Cut short or filtered, an answer may well have no text; one that ended well has some.
            self.found = self.found or finish != "stop"
            self.said = self.said or self.found
        if said is None:
            said = self._delta(index, {"delta": {}}) if key == "delta" else ""
        same = said is choice.get(key) and finish == raw and type(raw) is not bool
        if same and choice.get("index") is index and "finish_reason" in choice:
            return choice
        rest = {name: value for name, value in choice.items() if name not in ("delta", "text", "message")}
        return {**rest, "index": index, key: said, "finish_reason": finish}

    def _text(self, choice: Body) -> str | None:
        text = _said_text(choice)
        self.found = self.found or text is not None
        self.said = self.said or bool(text)
        return text

    def _delta(self, index: int, choice: Body) -> Body | None:
        """The delta with its role once; the text of servers that answer in another of OpenAI's shapes."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice.get("message")
        if not isinstance(delta, dict):
            text = choice.get("text")
            delta = {"content": text} if isinstance(text, str) else None
        if delta is None:
            return None
        self.found = self.found or any(delta.get(name) is not None for name in _SAID)
        self.said = self.said or any(delta.get(name) for name in _SAID)
        mended = delta
        if index not in self._roles:
            self._roles.add(index)
            if delta.get("role") != "assistant":
                mended = {"content": "", **delta, "role": "assistant"}
        elif "role" in delta:
            mended = {name: value for name, value in delta.items() if name != "role"}
        if "content" in mended and not isinstance(mended["content"], str | list | None):
            mended = {**mended, "content": json.dumps(mended["content"]).decode()}
        if isinstance(mended.get("tool_calls"), list):
            calls = [self._call(index, call) for call in mended["tool_calls"] if isinstance(call, dict)]
            if calls != mended["tool_calls"]:
                mended = {**mended, "tool_calls": calls}
        return mended

    def _call(self, index: int, call: Body) -> Body:
        """A call of a tool with its index; id and name once, arguments as text."""
        known = self._calls.setdefault(index, {})
        place = call.get("index")
        if type(place) is not int:
            same = [number for number, name in known.items() if call.get("id") == name]
            fresh = call.get("id") or (call.get("function") or {}).get("name")
            place = same[0] if same else max(len(known) - (0 if fresh else 1), 0)
        function = dict(call["function"]) if isinstance(call.get("function"), dict) else {}
        if "arguments" in function and not isinstance(function["arguments"], str):
            value = function["arguments"]
            function["arguments"] = "" if value is None else json.dumps(value).decode()
        mended = {**call, "index": place, "function": function}
        if place in known:
            # Clients join what comes twice.
            mended.pop("id", None)
            mended.pop("type", None)
            function.pop("name", None)
        else:
            known[place] = call.get("id") or f"call_{self._head.id}_{index}_{place}"
            mended = {"index": place, "id": known[place], "type": "function"} | mended | {"id": known[place]}
        return mended


def mend_completion(body: Body, head: Head) -> Body:
    """A whole answer that has choices, as clients expect it."""
    choices = [_whole_choice(number, choice, head) for number, choice in enumerate(body["choices"])]
    mended = {
        **body,
        "id": _text(body.get("id")) or head.id,
        "object": head.endpoint.object,
        "created": _integer(body.get("created")) or head.created,
        "model": _text(body.get("model")) or head.model,
        "choices": [choice for choice in choices if choice],
    }
    if isinstance(body.get("usage"), dict):
        mended["usage"] = _mended_usage(body["usage"])
    return body if _identical(mended, body) else mended


def finish_word(value: Any) -> str | None:
    """A reason of OpenAI's vocabulary, None while the answer goes on."""
    if value in (None, "", "null", "None") or value is False:
        return None
    return value if isinstance(value, str) and value in FINISH_REASONS else "stop"


def _whole_choice(number: int, choice: Any, head: Head) -> Body | None:
    if not isinstance(choice, dict):
        return None
    index = choice.get("index")
    mended = {**choice, "index": index if type(index) is int else number}
    if head.endpoint is CHAT:
        mended["message"] = _message(choice)
        tools = bool(mended["message"].get("tool_calls"))
        mended["finish_reason"] = finish_word(choice.get("finish_reason")) or (
            "tool_calls" if tools else "stop"
        )
        if "message" not in choice:
            mended.pop("text", None)
    else:
        mended["text"] = _said_text(choice) or ""
        mended["finish_reason"] = finish_word(choice.get("finish_reason")) or "stop"
        mended.setdefault("logprobs", None)
        mended.pop("message", None)
    return mended


def _message(choice: Body) -> Body:
    message = choice.get("message")
    if not isinstance(message, dict):
        return {"role": "assistant", "content": choice.get("text"), "refusal": None}
    mended = {**message, "role": "assistant", "content": message.get("content")}
    if isinstance(message.get("tool_calls"), list):
        mended["tool_calls"] = [
            _whole_call(number, call)
            for number, call in enumerate(message["tool_calls"])
            if isinstance(call, dict)
        ]
    return mended


def _whole_call(number: int, call: Body) -> Body:
    function = dict(call["function"]) if isinstance(call.get("function"), dict) else {}
    if not isinstance(function.get("arguments"), str):
        value = function.get("arguments")
        function["arguments"] = "" if value is None else json.dumps(value).decode()
    return {**call, "id": call.get("id") or f"call_{number}", "type": "function", "function": function}


def _said_text(choice: Body) -> str | None:
    """The text of a legacy completion's choice, or of a chat's in its place."""
    for said in (choice, choice.get("delta"), choice.get("message")):
        if isinstance(said, dict):
            for name in ("text", "content"):
                if isinstance(said.get(name), str):
                    return str(said[name])
    return None


def _mended_usage(usage: Body) -> Body:
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in usage.items()
    }


def _identical(one: Any, other: Any) -> bool:
    """Equal, and of equal types: 1 is not 1.0 here."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(_identical(one[name], other[name]) for name in one)
        case list(), list():
            return len(one) == len(other) and all(map(_identical, one, other))
        case _:
            return type(one) is type(other) and bool(one == other)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _integer(value: Any) -> int:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**53
    return int(value) if good else 0


_SAID = ("content", "tool_calls", "function_call", "reasoning_content", "reasoning", "refusal", "audio")
