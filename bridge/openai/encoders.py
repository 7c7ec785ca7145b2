r"""Deltas to a stream of chunks, or to one completion.

                             ChunkEncoder                                   CompletionEncoder
    write(deltas) ─▶ bytes   `data: {…}\n\n` for each                       nothing yet
    close(usage)  ─▶ bytes   finish chunks, usage, `data: [DONE]`           the body

A choice of a stream has the role in its first chunk only, and one finish chunk. All chunks of a stream have
the same id, created and model. Since most chunks only differ in their text, the bytes before and after the
text are encoded once for each choice.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bridge.core import json
from bridge.core.deltas import Usage
from bridge.core.finish_reasons import text_finish_reason
from bridge.openai.folded_tool_calls import FoldedToolCalls
from bridge.openai.joined_members import join_members
from bridge.openai.normalize import normalize_usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.core.deltas import Delta
    from bridge.core.errors import BridgeError
    from bridge.core.json import JSONObject
    from bridge.openai.response_encoder import ResponseInfo

__all__ = [
    "DONE",
    "ChunkEncoder",
    "CompletionEncoder",
    "completion",
    "completion_choice",
    "sse_event",
    "usage_object",
]

DONE = b"data: [DONE]\n\n"
_HOLE = "\ue000"  # private use: the place of the text in a chunk that is encoded once


class ChunkEncoder:
    """Encodes each delta of a chat as chunks at once."""

    __slots__ = ("_finish_reasons", "_info", "_text_templates", "_with_tool_calls", "started")

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, info: ResponseInfo) -> None:
        self._info = info
        self._text_templates: dict[int, tuple[bytes, bytes]] = {}  # by choice
        self._finish_reasons: dict[int, str] = {}  # by choice
        self._with_tool_calls: set[int] = set()  # choices
        self.started = False

    def write(self, deltas: Sequence[Delta]) -> bytes:
        """Return the chunks of deltas."""
        out: list[bytes] = []
        for delta in deltas:
            text, choice, finish, reasoning, tool_calls, logprobs, replaces, rest = delta
            before, after = self._text_templates.get(choice) or self._open(delta, out)
            if reasoning:
                out.append(self._chunk(choice, {"reasoning_content": reasoning}))
            if logprobs is not None:
                out.append(self._chunk(choice, {"content": text}, logprobs=logprobs))
            elif text and not replaces:
                out += (before, json.dumps(text), after)
            if tool_calls:
                self._with_tool_calls.add(choice)
                out.append(self._chunk(choice, {"tool_calls": tool_calls}))
            if rest:
                chunk = self._object([self._choice(choice, rest.message, None, None) | rest.choice])
                out.append(sse_event(chunk | rest.body))
            if finish:
                self._finish_reasons[choice] = finish
        return b"".join(out)

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return finish chunks for at least `choices` choices, the usage if requested, and `[DONE]`."""
        out: list[bytes] = []
        for choice in sorted(self._text_templates.keys() | set(range(choices))):
            if choice not in self._text_templates:
                self._open(None, out, choice)
            reason = finish_reason(self._finish_reasons.get(choice), tools=choice in self._with_tool_calls)
            out.append(self._chunk(choice, {}, finish=reason))
        if usage is not None and self._info.include_usage:
            out.append(sse_event(self._object([]) | {"usage": usage_object(usage)}))
        return b"".join([*out, DONE])

    def fail(self, error: BridgeError) -> bytes:
        """Return the event of an error, after which no `[DONE]` follows."""
        return sse_event(error.envelope)

    def _open(self, delta: Delta | None, out: list[bytes], choice: int = 0) -> tuple[bytes, bytes]:
        """Begin a choice: append its first chunks, and return the text template."""
        choice = delta.choice if delta else choice
        self.started = True
        before, _, after = self._chunk(choice, {"content": _HOLE}).rpartition(json.dumps(_HOLE))
        self._text_templates[choice] = (before, after)
        out += self._first_chunks(choice, delta)
        return before, after

    def _first_chunks(self, choice: int, delta: Delta | None) -> list[bytes]:
        # The content of a choice with nothing but tool calls is null, as in OpenAI's own streams.
        content = None if delta and delta.tool_calls and not delta.text else ""
        return [self._chunk(choice, {"role": self._info.role, "content": content, "refusal": None})]

    def _chunk(
        self, choice: int, delta: JSONObject, *, finish: str | None = None, logprobs: Any = None
    ) -> bytes:
        return sse_event(self._object([self._choice(choice, delta, finish, logprobs)]))

    def _choice(self, choice: int, delta: JSONObject, finish: str | None, logprobs: Any) -> JSONObject:
        return {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    def _object(self, choices: list[JSONObject]) -> JSONObject:
        info = self._info
        chunk = {
            "id": info.id,
            "object": info.endpoint.chunk_object,
            "created": info.created,
            "model": info.model,
            "choices": choices,
        }
        return chunk | ({"usage": None} if info.include_usage else {})


class _Choice:
    """One choice of a completion while its deltas are folded."""

    __slots__ = ("finish", "logprobs", "message", "more", "reasoning", "text", "tool_calls")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.tool_calls = FoldedToolCalls()
        self.logprobs: Any = None
        self.finish: str | None = None
        self.message: JSONObject = {}  # members that no slot reads
        self.more: JSONObject = {}  # the same of the choice

    def add(self, delta: Delta) -> None:
        if delta.replaces:
            self.text.clear()
        self.text.append(delta.text)
        if delta.reasoning:
            self.reasoning.append(delta.reasoning)
        for call in delta.tool_calls or ():
            self.tool_calls.add(call)
        if delta.logprobs is not None:
            self.logprobs = _merge_logprobs(self.logprobs, delta.logprobs)
        if delta.rest is not None:
            join_members(self.message, delta.rest.message)
            self.more |= delta.rest.choice
        self.finish = delta.finish_reason or self.finish


class CompletionEncoder:
    """Folds deltas into one completion."""

    __slots__ = ("_choices", "_info", "_more")

    started = False  # nothing is sent before the end, so that a failure keeps its status

    def __init__(self, info: ResponseInfo) -> None:
        self._info = info
        self._choices: dict[int, _Choice] = {}
        self._more: JSONObject = {}  # members of the body that no slot reads

    def write(self, deltas: Sequence[Delta]) -> bytes:
        """Keep the deltas."""
        for delta in deltas:
            choice = self._choices.get(delta.choice)
            if choice is None:
                choice = self._choices[delta.choice] = _Choice()
            choice.add(delta)
            if delta.rest is not None:
                self._more |= delta.rest.body
        return b""

    def close(self, usage: Usage | None, choices: int) -> bytes:
        """Return the completion."""
        for choice in range(choices):
            if choice not in self._choices:
                self._choices[choice] = _Choice()
        bodies = [self._choice_body(number, choice) for number, choice in sorted(self._choices.items())]
        return completion(self._info, bodies, usage, self._more)

    def fail(self, error: BridgeError) -> bytes:
        """Return nothing, since nothing was sent."""
        return b""

    def _choice_body(self, number: int, choice: _Choice) -> JSONObject:
        text, reasoning = "".join(choice.text), "".join(choice.reasoning)
        body = completion_choice(self._info, number, text, choice.finish)
        body["logprobs"] = choice.logprobs
        body |= choice.more
        if not self._info.endpoint.has_messages:
            return body
        message = body["message"]
        if reasoning:
            message["reasoning_content"] = reasoning
        if choice.tool_calls:
            message["content"] = text or None
            message["tool_calls"] = choice.tool_calls.complete()
            body["finish_reason"] = finish_reason(choice.finish, tools=True)
        if choice.message:
            message["content"] = text or None
            message |= choice.message
        return body


def completion(
    info: ResponseInfo,
    choices: Sequence[Mapping[str, Any]],
    usage: Usage | None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> bytes:
    """Return the body of a completion; `more` is members that no slot reads."""
    body: JSONObject = {
        "id": info.id,
        "object": info.endpoint.object,
        "created": info.created,
        "model": info.model,
        "choices": choices,
    }
    body["usage"] = usage_object(usage or Usage())  # clients add the counts of every completion
    return json.dumps({**body, **more})


def completion_choice(info: ResponseInfo, number: int, text: str, finish: str | None) -> JSONObject:
    """Return a choice of a completion with nothing but text."""
    if info.endpoint.has_messages:
        message = {"role": info.role, "content": text, "refusal": None}
        return {"index": number, "message": message, "logprobs": None, "finish_reason": finish or "stop"}
    reason = text_finish_reason(finish or "stop")
    return {"text": text, "index": number, "logprobs": None, "finish_reason": reason}


def finish_reason(value: str | None, *, tools: bool) -> str:
    """Return the finish reason of a choice. Many upstreams send `stop` even after tool calls (`tools`)."""
    if tools and value in (None, "stop", "function_call"):
        return "tool_calls"
    return value or "stop"


def usage_object(usage: Usage) -> JSONObject:
    """Return token counts in OpenAI's shape, with the further members of an object that was sent."""
    if usage.sent is not None:
        return normalize_usage(usage.sent, usage)
    body: JSONObject = {
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


def _merge_logprobs(first: Any, second: Any) -> Any:
    """Return the log probabilities of two texts. `first` is the result of an earlier call, and is changed."""
    if not isinstance(second, dict):
        return second
    if not isinstance(first, dict):
        return {name: [*value] if isinstance(value, list) else value for name, value in second.items()}
    for name, value in second.items():
        if isinstance(value, list) and isinstance(first.get(name), list):
            first[name] += value
        else:
            first[name] = [*value] if isinstance(value, list) else value
    return first


def sse_event(value: JSONObject) -> bytes:
    """Return an event of a stream."""
    return b"data: " + json.dumps(value) + b"\n\n"
