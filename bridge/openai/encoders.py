r"""What the client gets: a stream of chunks, or one completion, made of the same deltas.

    write([Delta, …]) ─▶ bytes      StreamReply: `data: {…}\n\n` each;  WholeReply: nothing yet
    close(usage)      ─▶ bytes      finish chunks, usage, `data: [DONE]`;  the whole body
    fail(error)       ─▶ bytes      the honest end: `data: {"error": …}`, and no [DONE]

A stream has the role once, in its first chunk, one finish chunk a choice, and one id, created and model.
Within it only the text changes, so a chunk is encoded once with a hole, and the hole filled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bridge.core import json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.core.deltas import Delta, Usage
    from bridge.core.errors import BridgeError
    from bridge.openai.endpoint_spec import EndpointSpec

__all__ = [
    "DONE",
    "ChunkEncoder",
    "CompletionEncoder",
    "CompletionInfo",
    "ResponseEncoder",
    "completion",
    "completion_choice",
    "sse_event",
    "usage_object",
]

DONE = b"data: [DONE]\n\n"
_HOLE = "\ue000"


@dataclass(slots=True)
class CompletionInfo:
    """What is the same in a whole reply. `created` is in Unix seconds, `asked` the client's body."""

    endpoint: EndpointSpec
    id: str
    created: int
    model: str
    role: str = "assistant"
    include_usage: bool = False
    request_body: Mapping[str, Any] = field(default_factory=dict)


class ResponseEncoder(Protocol):
    """Writes a response from deltas; `write` is called any number of times, then `close` or `fail` once."""

    @property
    def started(self) -> bool:
        """Return whether bytes were written, so that a later failure cannot change the status."""

    def write(self, deltas: Sequence[Any]) -> bytes:
        """Return the bytes that can leave by now."""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return the end of a response of at least `choices` choices."""

    def fail(self, error: BridgeError) -> bytes:
        """Return the end of a stream that failed; nothing of a response that has not begun."""


class ChunkEncoder:
    """Writes chunks as they come."""

    __slots__ = ("_around", "_finish", "_head", "_tools", "started")

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, head: CompletionInfo) -> None:
        self._head = head
        self._around: dict[int, tuple[bytes, bytes]] = {}
        self._finish: dict[int, str] = {}
        self._tools: set[int] = set()
        self.started = False

    def write(self, deltas: Sequence[Delta]) -> bytes:
        """The chunks of some deltas."""
        out: list[bytes] = []
        for delta in deltas:
            around = self._around.get(delta.choice) or self._open(delta, out)
            if delta.reasoning and self._head.endpoint.has_messages:
                out.append(self._chunk(delta.choice, {"reasoning_content": delta.reasoning}))
            if delta.logprobs is not None:
                out.append(self._chunk(delta.choice, {"content": delta.text}, logprobs=delta.logprobs))
            elif delta.text and not delta.replaces:
                out += (around[0], json.dumps(delta.text), around[1])
            if delta.tool_calls and self._head.endpoint.has_messages:
                self._tools.add(delta.choice)
                out.append(self._chunk(delta.choice, {"tool_calls": delta.tool_calls}))
            if delta.finish_reason:
                self._finish[delta.choice] = delta.finish_reason
        return b"".join(out)

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """The end of a stream of at least so many choices."""
        out: list[bytes] = []
        for choice in sorted(self._around.keys() | set(range(choices))):
            if choice not in self._around:
                self._open(None, out, choice)
            reason = finish_reason(self._finish.get(choice), tools=choice in self._tools)
            out.append(self._chunk(choice, {}, finish=reason))
        if usage is not None and self._head.include_usage:
            out.append(sse_event(self._object([]) | {"usage": usage_object(usage)}))
        return b"".join([*out, DONE])

    def fail(self, error: BridgeError) -> bytes:
        """The end of a stream that failed on the way."""
        return sse_event(error.envelope)

    def _open(self, delta: Delta | None, out: list[bytes], choice: int = 0) -> tuple[bytes, bytes]:
        """Begin a choice: its role, and the chunk that its texts will fill."""
        choice = delta.choice if delta else choice
        self.started = True
        before, _, after = self._chunk(choice, {"content": _HOLE}).rpartition(json.dumps(_HOLE))
        self._around[choice] = (before, after)
        if self._head.endpoint.has_messages:
            # Content is null where a call of tools is all there is, as in OpenAI's own streams.
            content = None if delta and delta.tool_calls and not delta.text else ""
            out.append(self._chunk(choice, {"role": self._head.role, "content": content, "refusal": None}))
        return before, after

    def _chunk(
        self, choice: int, delta: dict[str, Any], *, finish: str | None = None, logprobs: Any = None
    ) -> bytes:
        if self._head.endpoint.has_messages:
            one = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        else:
            text = delta.get("content", "")
            reason = text_finish_reason(finish) if finish else None
            one = {"text": text, "index": choice, "logprobs": logprobs, "finish_reason": reason}
        return sse_event(self._object([one]))

    def _object(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        head = self._head
        chunk = {
            "id": head.id,
            "object": head.endpoint.chunk_object,
            "created": head.created,
            "model": head.model,
            "choices": choices,
        }
        return chunk | ({"usage": None} if head.include_usage else {})


class _Choice:
    """One choice of a whole reply, as it is put together."""

    __slots__ = ("finish", "logprobs", "reasoning", "text", "tools")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.tools: dict[int, dict[str, Any]] = {}
        self.logprobs: Any = None
        self.finish: str | None = None

    def add(self, delta: Delta) -> None:
        if delta.replaces:
            self.text.clear()
        self.text.append(delta.text)
        if delta.reasoning:
            self.reasoning.append(delta.reasoning)
        for call in delta.tool_calls or ():
            fold_tool_call(self.tools, call)
        if delta.logprobs is not None:
            self.logprobs = _join_logprobs(self.logprobs, delta.logprobs)
        self.finish = delta.finish_reason or self.finish


class CompletionEncoder:
    """Folds deltas into one completion."""

    __slots__ = ("_choices", "_head")

    started = False  # nothing leaves before the end, so a failure keeps its status

    def __init__(self, head: CompletionInfo) -> None:
        self._head = head
        self._choices: dict[int, _Choice] = {}

    def write(self, deltas: Sequence[Delta]) -> bytes:
        """Nothing yet: the deltas are kept."""
        for delta in deltas:
            choice = self._choices.get(delta.choice)
            if choice is None:
                choice = self._choices[delta.choice] = _Choice()
            choice.add(delta)
        return b""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """The completion."""
        for choice in range(choices):
            if choice not in self._choices:
                self._choices[choice] = _Choice()
        made = [self._made(number, choice) for number, choice in sorted(self._choices.items())]
        return completion(self._head, made, usage)

    def fail(self, error: BridgeError) -> bytes:
        """Nothing: the error's own envelope is the whole reply."""
        return b""

    def _made(self, number: int, choice: _Choice) -> dict[str, Any]:
        text, reasoning = "".join(choice.text), "".join(choice.reasoning)
        made = completion_choice(self._head, number, text, choice.finish)
        made["logprobs"] = choice.logprobs
        if not self._head.endpoint.has_messages:
            return made
        message = made["message"]
        if reasoning:
            message["reasoning_content"] = reasoning
        if choice.tools:
            message["content"] = text or None
            message["tool_calls"] = [choice.tools[index] for index in sorted(choice.tools)]
            made["finish_reason"] = finish_reason(choice.finish, tools=True)
        return made


def completion(head: CompletionInfo, choices: Sequence[Mapping[str, Any]], usage: Usage | None) -> bytes:
    """A whole body."""
    body: dict[str, Any] = {
        "id": head.id,
        "object": head.endpoint.object,
        "created": head.created,
        "model": head.model,
        "choices": choices,
    }
    if usage is not None:
        body["usage"] = usage_object(usage)
    return json.dumps(body)


def completion_choice(head: CompletionInfo, number: int, text: str, finish: str | None) -> dict[str, Any]:
    """One choice of a whole body, that says a text and no more."""
    if head.endpoint.has_messages:
        message = {"role": head.role, "content": text, "refusal": None}
        return {"index": number, "message": message, "logprobs": None, "finish_reason": finish or "stop"}
    reason = text_finish_reason(finish or "stop")
    return {"text": text, "index": number, "logprobs": None, "finish_reason": reason}


def finish_reason(found: str | None, *, tools: bool) -> str:
    """Why a choice that ended well ended. Servers that call tools often say `stop` all the same."""
    if tools and found in (None, "stop"):
        return "tool_calls"
    return found or "stop"


def text_finish_reason(found: str) -> str:
    """The same of a legacy completion, which knows no calls of tools."""
    return "stop" if found in ("tool_calls", "function_call") else found


def fold_tool_call(calls: dict[int, dict[str, Any]], delta: dict[str, Any]) -> None:
    """Add one delta of a tool call to the calls by index: arguments grow, the rest is said once."""
    call = calls.setdefault(
        delta["index"], {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
    )
    function = delta.get("function") or {}
    call["id"] = call["id"] or delta.get("id")
    call["function"]["name"] = call["function"]["name"] or function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""
    call |= {name: value for name, value in delta.items() if name not in ("index", *call)}


def usage_object(usage: Usage) -> dict[str, Any]:
    """Token counts in OpenAI's shape."""
    body: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        body["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        body["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.estimated:
        body["estimated"] = True
    return body


def _join_logprobs(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            name: one[name] + value if isinstance(value, list) and isinstance(one.get(name), list) else value
            for name, value in {**one, **other}.items()
        }
    return other if other is not None else one


def sse_event(value: dict[str, Any]) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(value) + b"\n\n"
